"""Weights prepared once for acting: packed for the CPU, and in bfloat16 where that is configured.

Acting takes one timestep of few rollouts at a time, so its products are short and mostly spend
their time on reading weights and on calling modules. Networks that derive their weights once, when
they enter evaluation mode, act several times faster.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_PACKED_SIZE = 2**15
"""Elements of a weight from which on packing it makes products with few rows faster."""


class LinearWeights(NamedTuple):
    """Weight (O, I) and bias (O,) of a linear layer, as plain tensors."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, x: Tensor) -> Tensor:
        """Outputs (..., O) of x (..., I)."""
        return F.linear(x, self.weight, self.bias)

    def apply_leaky_relu(self, x: Tensor) -> Tensor:
        """Outputs (..., O) of x (..., I) after a leaky ReLU."""
        return F.leaky_relu(F.linear(x, self.weight, self.bias))

    def for_inference(self, bfloat16: bool) -> "LinearWeights":
        """The same layer without gradient: packed on a CPU if it is large, perhaps in bfloat16."""
        weight = self.weight.detach()
        bias = None if self.bias is None else self.bias.detach()
        on_cpu = weight.device.type == "cpu"
        if on_cpu and weight.numel() < MIN_PACKED_SIZE:  # too short a product for either to pay
            return InferenceLinear(weight, bias) if bfloat16 else LinearWeights(weight, bias)
        if bfloat16:
            weight, bias = weight.bfloat16(), None if bias is None else bias.bfloat16()
        if on_cpu and _can_pack(bfloat16):
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        return InferenceLinear(weight, bias)


def _can_pack(bfloat16: bool) -> bool:
    """Whether this build of PyTorch and, for bfloat16, this processor have packed products."""
    built = torch.backends.mkldnn.is_available()
    return built and (not bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


class InferenceLinear(LinearWeights):
    """`LinearWeights` for acting: inputs of any type, float32 outputs of `apply`.

    A packed weight has oneDNN's own layout and takes half as long to read. Its operations are those
    that `torch.compile` makes of a linear layer on a CPU; they have no public name and no gradient.
    """

    __slots__ = ()

    def apply(self, x: Tensor) -> Tensor:
        """See `LinearWeights.apply`."""
        x = x.to(self.weight.dtype)
        return (self._packed(x, "none") if self.weight.is_mkldnn else super().apply(x)).float()

    def apply_leaky_relu(self, x: Tensor) -> Tensor:
        """See `LinearWeights.apply_leaky_relu`.

        A packed weight leaves outputs in its own type, in which the next layer takes them.
        """
        x = x.to(self.weight.dtype)
        if self.weight.is_mkldnn:
            return self._packed(x, "leaky_relu", 0.01)
        return super().apply_leaky_relu(x).float()

    def _packed(self, x: Tensor, activation: str, *slope: float) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, *self, activation, slope, "")
        return y


class NormWeights(NamedTuple):
    """Weight (D,) and bias (D,) of a LayerNorm, as plain tensors."""

    weight: Tensor
    bias: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Normalise x (..., D) over its last axis."""
        return torch.layer_norm(x, self.weight.shape, *self)


class WithInferenceWeights(nn.Module):
    """Module that derives `inference_weights` once, on entering evaluation mode.

    In that mode it does not notice weights that change other than by a move to another device.
    """

    bfloat16_inference = False
    """Whether products are computed in bfloat16 in evaluation mode."""
    cached: Any = None
    """What `inference_weights` gave on entering evaluation mode; None in training mode."""

    def inference_weights(self) -> Any:
        """Derive what evaluation mode computes with."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """State for a copy, without the cache: packed weights cannot be copied."""
        return {**self.__dict__, "cached": None}

    def train(self, mode: bool = True) -> Self:
        """Enter training or evaluation mode."""
        super().train(mode)
        self._update_cache()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._update_cache()
        return self

    @torch.no_grad()
    def _update_cache(self) -> None:
        self.cached = None
        self.cached = None if self.training else self.inference_weights()
