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


def unrolled(rnn: nn.RNNBase, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, D) and last hidden state (layers, B, D) of x (B, L, D_in).

    On CUDA in float32 always: autocast would have cuDNN compute in float16, whatever it is set to.
    """
    if not x.is_cuda:
        return rnn(x, hidden)
    with torch.autocast("cuda", enabled=False):
        return rnn(x.float(), hidden)


LARGE = 2**15
"""Elements of a weight from which on packing it makes products with a few rows shorter."""


class Affine(NamedTuple):
    """Weight (O, I) and bias (O,) of a linear layer, or of the scaling behind a LayerNorm."""

    weight: Tensor
    bias: Tensor | None

    def of(self, x: Tensor) -> Tensor:
        """Outputs (..., O) of x (..., I)."""
        return F.linear(x, self.weight, self.bias)

    def activated(self, x: Tensor) -> Tensor:
        """`of`, through a leaky ReLU."""
        return F.leaky_relu(F.linear(x, self.weight, self.bias))

    def fixed(self, half: bool) -> "Affine":
        """For acting, without gradient: if large packed on a CPU, and in bfloat16 if `half`."""
        weight = self.weight.detach()
        bias = None if self.bias is None else self.bias.detach()
        on_cpu = weight.device.type == "cpu"
        if on_cpu and weight.numel() < LARGE:  # its products are too short for either to pay
            return FixedAffine(weight, bias) if half else Affine(weight, bias)
        if half:
            weight, bias = weight.bfloat16(), None if bias is None else bias.bfloat16()
        if on_cpu and _packs(half):
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        return FixedAffine(weight, bias)


def _packs(half: bool) -> bool:
    """Whether this build of PyTorch and, for bfloat16, this processor have packed products."""
    built = torch.backends.mkldnn.is_available()
    return built and (not half or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


class FixedAffine(Affine):
    """An `Affine` for acting: inputs of any type, and float32 outputs of `of`.

    A packed weight has oneDNN's own layout, and takes half as long to read. The operations for it
    are those that `torch.compile` makes of a linear layer on a CPU; they have no public name, and
    no gradient.
    """

    __slots__ = ()

    def of(self, x: Tensor) -> Tensor:
        """See `Affine.of`."""
        x = x.to(self.weight.dtype)
        return (self._packed(x, "none") if self.weight.is_mkldnn else super().of(x)).float()

    def activated(self, x: Tensor) -> Tensor:
        """See `Affine.activated`; of a packed weight, in its type, as the next one takes it."""
        x = x.to(self.weight.dtype)
        if self.weight.is_mkldnn:
            return self._packed(x, "leaky_relu", 0.01)
        return super().activated(x).float()

    def _packed(self, x: Tensor, after: str, *slope: float) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, *self, after, slope, "")
        return y


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

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: packed weights cannot be copied."""
        return {**self.__dict__, "_fixed": None}

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
