"""Copies between the host and a GPU."""

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """`x` on a device. From pinned memory, a GPU copies while the host goes on computing."""
    if x.device == device:
        return x
    if device.type == "cuda" and x.device.type == "cpu":
        return x.contiguous().pin_memory().to(device, non_blocking=True)
    return x.to(device)
