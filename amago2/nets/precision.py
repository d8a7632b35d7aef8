"""The type in which products are computed."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def as_factor(x: Tensor) -> Tensor:
    """`x` as autocast would give it to a product: float, or half as wide where that is chosen."""
    device = x.device.type
    half = torch.is_autocast_enabled(device)
    return x.to(torch.get_autocast_dtype(device) if half else torch.float32)


class Affine(NamedTuple):
    """Weight and bias of a linear layer, or of the scaling behind a LayerNorm."""

    weight: Tensor
    bias: Tensor | None

    def fixed(self, half: bool) -> "Affine":
        """For acting: without gradient, and rounded to bfloat16 if `half`."""
        kind = torch.bfloat16 if half else self.weight.dtype
        bias = None if self.bias is None else self.bias.detach().to(kind)
        return Affine(self.weight.detach().to(kind), bias)


def product(x: Tensor, affine: Affine) -> Tensor:
    """`F.linear`, for which x is rounded as the weights are; autocast rounds both by itself."""
    rounded = affine.weight.dtype == torch.bfloat16
    return F.linear(x.bfloat16() if rounded else x, *affine)
