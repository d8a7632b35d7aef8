"""Dropout whose draws come from an explicit generator."""

import torch
from torch import Tensor


def dropout(x: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Inverted dropout of x (...); none without a generator."""
    scale = dropout_scales(x, rate, rng, 1)
    return x if scale is None else x * scale[0]


def dropout_scales(
    x: Tensor, rate: float, rng: torch.Generator | None, count: int
) -> Tensor | None:
    """Factors (count, ...) for `count` dropouts of tensors like x (...), drawn at once.

    None without a generator. One 64-bit draw decides on four elements, so `rate` is rounded to a
    multiple of 2^-16.
    """
    if rng is None or rate == 0:
        return None
    dropped = round(rate * 2**16)
    draws = torch.empty(count, -(-x.numel() // 4), dtype=torch.int64, device=rng.device)
    bits = draws.random_(-(2**63), None, generator=rng).view(torch.int16)[:, : x.numel()]
    keep = (bits >= dropped - 2**15).to(x.device, x.dtype).div_(1 - dropped / 2**16)
    return keep.view(count, *x.shape)
