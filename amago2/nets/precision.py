"""The type in which products are computed, and weights that are fixed while acting."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
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


class Fixing(nn.Module):
    """Derives something from its weights once, when evaluation mode is entered: steps are short.

    Weights that change in that mode other than by a move to another device are not noticed.
    """

    rounded = False
    """Whether products are then of bfloat16."""
    _fixed: Any = None

    def fixed(self) -> Any:
        """What is kept until training mode is entered."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Enter training or evaluation mode."""
        super().train(mode)
        self._fix()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fix()
        return self

    @torch.no_grad()
    def _fix(self) -> None:
        self._fixed = None
        self._fixed = None if self.training else self.fixed()
