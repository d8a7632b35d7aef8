"""Linear layers whose weight has a trained spectral norm (sigma-reparametrisation).

y = x W'^T + b with W' = (g / sigma(W)) W, where sigma is the largest singular value (Zhai et al.
2023). sigma is tracked by one power iteration per training pass.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.inference_weights import LinearWeights

EPSILON = 1e-12
"""Least length of a vector that is divided by its length."""


class SigmaLinear(nn.Module):
    """One such layer: its parameters, and the singular vectors that belong to sigma."""

    left: Tensor  # (outputs,)
    right: Tensor  # (inputs,)

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        weight = nn.init.trunc_normal_(torch.empty(outputs, inputs), std=0.02)
        u, _, vh = torch.linalg.svd(weight, full_matrices=False)
        self.weight = nn.Parameter(weight)
        self.gain = nn.Parameter(torch.ones(()))
        bound = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None
        self.register_buffer("left", u[:, 0].contiguous())
        self.register_buffer("right", vh[0].contiguous())

    def linear(self) -> LinearWeights:
        """W' and b, with the present singular vectors."""
        sigma = self.left @ (self.weight @ self.right)
        return LinearWeights(self.weight * (self.gain / sigma), self.bias)


def training_weights(layers: Sequence[SigmaLinear]) -> list[LinearWeights]:
    """W' and b of each layer after a power iteration; layers of one shape are computed together.

    Gradients flow through W inside sigma, and not through its singular vectors.
    """
    by_shape: dict[torch.Size, list[SigmaLinear]] = {}
    for layer in layers:
        by_shape.setdefault(layer.weight.shape, []).append(layer)
    found: dict[SigmaLinear, Tensor] = {}
    for group in by_shape.values():
        given = [x for layer in group for x in (layer.weight, layer.gain, layer.left, layer.right)]
        with torch.autocast(group[0].weight.device.type, enabled=False):
            weights = _TrainingWeights.apply(*given)  # type: ignore[no-untyped-call]
        found.update(zip(group, weights, strict=True))
    return [LinearWeights(found[layer], layer.bias) for layer in layers]


class _TrainingWeights(torch.autograd.Function):
    """W' (O, I) of n layers from each one's W (O, I), g (), left (O,) and right (I,).

    Overwrites left and right.
    """

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
        weights, gains, lefts, rights = (given[i::4] for i in range(4))
        weight, gain = torch.stack(weights), torch.stack(gains)
        right = torch.stack(rights).unsqueeze(2)  # (n, I, 1)
        left = F.normalize(weight @ right, dim=1, eps=EPSILON)  # (n, O, 1)
        right = weight.mT @ left
        # With right = W^T left / |W^T left|, sigma = left^T W right is that length.
        sigma = torch.linalg.vector_norm(right, dim=1, keepdim=True).clamp_(min=EPSILON)
        right = right / sigma
        torch._foreach_copy_(
            [*lefts, *rights], [*left.squeeze(2).unbind(), *right.squeeze(2).unbind()]
        )
        scale = gain.view(-1, 1, 1) / sigma
        ctx.save_for_backward(weight, left, right, sigma, scale)
        return (weight * scale).unbind()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, left, right, sigma, scale = ctx.saved_tensors
        gradient = torch.stack(gradients)
        # dL/dg = <dL/dW', W> / sigma, and dL/dsigma = -g / sigma times that.
        of_gain = (gradient * weight).sum((1, 2), keepdim=True) / sigma
        of_weight = (gradient * scale).addcmul_(left * (of_gain * scale), right.mT, value=-1)
        per_layer = zip(of_weight.unbind(), of_gain.flatten().unbind(), strict=True)
        return tuple(x for pair in per_layer for x in (*pair, None, None))
