"""Selections of rows whose forward and backward passes both read rows, and never add to them.

The gradient of PyTorch's own selections is a sum over repeated indices, whose deterministic form
sorts them on a GPU, and masks make the host wait for their count.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """M distinct rows out of N."""

    index: Tensor  # (M,) int64
    inverse: Tensor  # (N,) int64: each row's place in `index`, M for those that are not in it

    @classmethod
    def of(cls, index: Tensor, rows: int) -> "Rows":
        """The rows `index` (M,) of as many `rows`."""
        inverse = torch.full((rows,), len(index), device=index.device)
        inverse[index] = torch.arange(len(index), device=index.device)
        return cls(index, inverse)

    @classmethod
    def where(cls, mask: Tensor) -> "Rows":
        """The rows where `mask` (...) is true, flattened."""
        return cls.of(mask.flatten().nonzero().squeeze(1), mask.numel())

    @property
    def all(self) -> bool:
        """Whether every row is selected."""
        return len(self.index) == len(self.inverse)

    def take(self, x: Tensor) -> Tensor:
        """The rows (M, ...) of x (N, ...)."""
        if self.all:
            return x
        taken: Tensor = _Take.apply(x, self.index, self.inverse)  # type: ignore[no-untyped-call]
        return taken

    def put(self, x: Tensor) -> Tensor:
        """Rows x (M, ...) at their places in (N, ...), zeros elsewhere."""
        if self.all:
            return x
        put: Tensor = _Put.apply(x, self.index, self.inverse)  # type: ignore[no-untyped-call]
        return put


def _put(x: Tensor, inverse: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])]).index_select(0, inverse)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _put(gradient, *ctx.saved_tensors), None, None


class _Put(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return _put(x, inverse)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, *ctx.saved_tensors), None, None
