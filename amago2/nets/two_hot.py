"""Two-hot value classes: a scalar return as a distribution over fixed bins (paper, Section 3)."""

from typing import Any

import torch
from torch import Tensor, nn


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|), elementwise, without gradient."""
    return torch.abs(x).log1p().copysign(x)


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`: sign(x) (exp(|x|) - 1), elementwise."""
    y: Tensor = _Symexp.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Symexp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        grown = torch.abs(x).expm1()
        ctx.save_for_backward(grown)
        return grown.copysign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (grown,) = ctx.saved_tensors
        return gradient * (grown + 1)


class ValueBins(nn.Module):
    """Evenly spaced bins between two limits, in symlog space unless `symlog` is false.

    The paper keeps the limits at +-1e5 in every domain. Its appendix prints the two weights of a
    label in exchanged places; here the nearer bin gets the larger one, so that decoding a label
    gives back its value.
    """

    centers: Tensor  # (N,) in the transformed space

    def __init__(self, limit: float | tuple[float, float], count: int, symlog: bool = True) -> None:
        """Space `count` (>= 2) bins over [-limit, limit], or over a pair (low, high)."""
        super().__init__()
        low, high = limit if isinstance(limit, tuple) else (-limit, limit)
        if count < 2 or low >= high:
            raise ValueError(f"value bins need count >= 2 and low < high, got {count}, {limit}")
        self.symlog = symlog
        ends = self._transform(torch.tensor([low, high], dtype=torch.float64))
        centers = torch.linspace(float(ends[0]), float(ends[1]), count, dtype=torch.float64)
        self.register_buffer("centers", centers.float(), persistent=False)
        self.spacing = float(centers[1] - centers[0])

    def _transform(self, values: Tensor) -> Tensor:
        return symlog(values) if self.symlog else values

    def locate(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Lower bin (...) int64 and weight of the upper bin (...) of each value's two-hot label.

        Values beyond the limits are clamped to the outermost bins.
        """
        z = self._transform(values).clamp(self.centers[0], self.centers[-1])
        lower = (torch.bucketize(z, self.centers, right=True) - 1).clamp(0, len(self.centers) - 2)
        below, above = self.centers[lower], self.centers[lower + 1]
        return lower, (z - below) / (above - below)

    def encode(self, values: Tensor) -> Tensor:
        """Two-hot labels (..., N) of values (...)."""
        lower, weight = (x.unsqueeze(-1) for x in self.locate(values))
        place = torch.arange(len(self.centers), device=values.device) - lower
        return torch.where(place == 0, 1 - weight, torch.where(place == 1, weight, 0.0))

    def hats(self, values: Tensor) -> Tensor:
        """The labels of `encode` to rounding, in half as many kernels.

        Bins are evenly spaced, so a weight falls linearly with the distance to the bin.
        """
        first, last = self.centers[0], self.centers[-1]
        z = self._transform(values).clamp(first, last).unsqueeze(-1)
        return (1 - (z - self.centers).abs() / self.spacing).clamp(min=0)

    def decode(self, probabilities: Tensor) -> Tensor:
        """Values (...) of distributions (..., N): symexp of the expectation."""
        with torch.autocast(probabilities.device.type, enabled=False):
            z = probabilities.float() @ self.centers
        return symexp(z) if self.symlog else z

    def cross_entropy(self, logits: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy (...) between the labels of values and softmax of logits (..., N).

        A label has two entries, so a gather replaces a product over all bins; but not on a GPU,
        where the gather's deterministic gradient takes 47 kernels. `values` broadcasts against the
        leading axes of `logits`.
        """
        if logits.is_cuda:
            return two_hot_cross_entropy(logits, self.hats(values))
        lower, weight = self.locate(values)
        entries = torch.stack([lower, lower + 1], -1).expand(*logits.shape[:-1], 2)
        weights = torch.stack([1 - weight, weight], -1)
        return -(weights * logits.log_softmax(-1).gather(-1, entries)).sum(-1)


def two_hot_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (...) between dense labels (..., N) and softmax of logits (..., N)."""
    return -(labels * logits.log_softmax(-1)).sum(-1)
