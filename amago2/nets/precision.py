"""The type in which products are computed."""

import torch
from torch import Tensor


def as_factor(x: Tensor) -> Tensor:
    """`x` as autocast would give it to a product: float, or half as wide where that is chosen."""
    device = x.device.type
    half = torch.is_autocast_enabled(device)
    return x.to(torch.get_autocast_dtype(device) if half else torch.float32)
