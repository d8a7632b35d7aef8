"""Linear layers whose weight has a trained spectral norm (sigma-reparametrisation).

y = x W'^T + b with W' = (g / sigma(W)) W, where sigma is the largest singular value (Zhai et al.
2023). sigma is tracked by one power iteration per training pass.
"""

import math
from collections.abc import Sequence
from itertools import chain, islice
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
    ordered = sorted(layers, key=lambda layer: layer.weight.shape)
    shapes = [layer.weight.shape for layer in ordered]
    sizes = [shapes.count(shape) for shape in dict.fromkeys(shapes)]
    columns = [[getattr(layer, name) for layer in ordered] for name in _TrainingWeights.GIVEN]
    with torch.autocast(layers[0].weight.device.type, enabled=False):
        weights = _TrainingWeights.apply(sizes, *chain(*columns))  # type: ignore[no-untyped-call]
    found = dict(zip(ordered, weights, strict=True))
    return [LinearWeights(found[layer], layer.bias) for layer in layers]


class _TrainingWeights(torch.autograd.Function):
    """W' (O, I) of n layers, of which the first `sizes[0]` have one shape, and so on.

    From all their W (O, I), then all g (), left (O,) and right (I,). Overwrites left and right.
    """

    GIVEN = "weight", "gain", "left", "right"

    @staticmethod
    def forward(ctx: Any, sizes: list[int], *given: Tensor) -> tuple[Tensor, ...]:
        count = sum(sizes)
        weights, gains, lefts, rights = (given[i * count :][:count] for i in range(4))
        groups = [torch.stack(each) for each in _split(weights, sizes)]
        new_lefts, new_rights, sigmas = [], [], []
        for weight, start in zip(groups, _split(rights, sizes), strict=True):
            right = torch.stack(start).unsqueeze(2)  # (n, I, 1)
            left = F.normalize(weight @ right, dim=1, eps=EPSILON)  # (n, O, 1)
            right = weight.mT @ left
            # With right = W^T left / |W^T left|, sigma = left^T W right is that length.
            sigma = torch.linalg.vector_norm(right, dim=1, keepdim=True).clamp_(min=EPSILON)
            new_lefts.append(left)
            new_rights.append(right / sigma)
            sigmas.append(sigma)
        torch._foreach_copy_([*lefts, *rights], _rows(new_lefts, 2) + _rows(new_rights, 2))
        sigma = torch.cat(sigmas)  # (count, 1, 1)
        scale = torch.stack(gains).view(-1, 1, 1) / sigma
        ctx.sizes = sizes
        ctx.save_for_backward(sigma, scale, *groups, *new_lefts, *new_rights)
        return tuple(_rows([w * s for w, s in zip(groups, scale.split(sizes), strict=True)]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        sizes, (sigma, scale, *saved) = ctx.sizes, ctx.saved_tensors
        groups, lefts, rights = (saved[i * len(sizes) :][: len(sizes)] for i in range(3))
        stacked = [torch.stack(each) for each in _split(gradients, sizes)]
        # dL/dg = <dL/dW', W> / sigma, and dL/dsigma = -g / sigma times that.
        products = zip(stacked, groups, strict=True)
        of_gain = torch.cat([(g * w).sum((1, 2), keepdim=True) for g, w in products]) / sigma
        parts = (stacked, scale.split(sizes), lefts, rights, (of_gain * scale).split(sizes))
        of_weight = [
            (gradient * own).addcmul_(left * of_sigma, right.mT, value=-1)
            for gradient, own, left, right, of_sigma in zip(*parts, strict=True)
        ]
        none = [None] * (2 * len(gradients))
        return (None, *_rows(of_weight), *of_gain.flatten().unbind(), *none)


def _split(tensors: Sequence[Tensor], sizes: Sequence[int]) -> list[list[Tensor]]:
    """Consecutive groups of these sizes."""
    each = iter(tensors)
    return [[*islice(each, size)] for size in sizes]


def _rows(stacked: Sequence[Tensor], squeezed: int | None = None) -> list[Tensor]:
    """The tensors of all stacks, perhaps without an axis of size 1."""
    return [x for each in stacked for x in (each if squeezed is None else each.squeeze(squeezed))]
