"""Dropout whose draws come from an explicit generator."""

import torch
from torch import Tensor


def dropout(x: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Inverted dropout of x (...); none without a generator.

    One 64-bit draw decides on four elements, so `rate` is rounded to a multiple of 2^-16.
    """
    if rng is None or rate == 0:
        return x
    dropped = round(rate * 2**16)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=rng.device)
    bits = draws.random_(-(2**63), None, generator=rng).view(torch.int16)[: x.numel()]
    keep = (bits >= dropped - 2**15).view(x.shape).to(x.device, x.dtype)
    return x * (keep / (1 - dropped / 2**16))
