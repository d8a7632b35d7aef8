"""Running statistics over whole batches, and the standardisation of network inputs by them."""

import torch
from torch import Tensor, nn

from amago2.distributed import SingleProcess
from amago2.nets.inference_weights import WithInferenceWeights


class RunningMoments(nn.Module):
    """Exponential averages (D,) of a vector and of its square.

    The averaging rate is corrected for the start: the first batches dominate, then the rate settles
    at `rate`.
    """

    mean: Tensor
    square: Tensor
    count: Tensor
    group: SingleProcess = SingleProcess()
    """The processes that share each batch."""
    held = False
    """Whether `update` does nothing: it has been given the whole batch already."""

    def __init__(self, size: int, rate: float, square: float) -> None:
        """Begin with a mean of 0 and a mean square of `square`."""
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.full((size,), square))
        self.register_buffer("count", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Average in this process's share (M, D) of a batch."""
        if self.held or not len(x):
            return
        self.count += 1
        rate = (self.rate / (1 - (1 - self.rate) ** self.count)).float()
        self.mean.lerp_(self.group.mean(x), rate)
        self.square.lerp_(self.group.mean(x * x), rate)


class InputNorm(WithInferenceWeights, RunningMoments):
    """Running standardisation of a vector (..., D), updated on valid timesteps in training."""

    RATE = 1e-4

    def __init__(self, size: int) -> None:
        super().__init__(size, self.RATE, square=1.0)

    def forward(self, x: Tensor, update: bool = False) -> Tensor:
        """Standardise x (..., D).

        With `update`, first learn from x (M, D), which then holds valid timesteps only.
        """
        if update:
            self.cached = None
            self.update(x)
        return ((x - self.mean) / self._scale()).clamp(-1e4, 1e4)

    def _scale(self) -> Tensor:
        """The divisor (D,) of inputs; in evaluation mode, the one on entering it."""
        scale: Tensor = self.inference_weights() if self.cached is None else self.cached
        return scale

    def inference_weights(self) -> Tensor:
        """The divisor (D,) that follows from the present statistics."""
        std = (self.square - self.mean**2).clamp(min=0).add(1e-5).sqrt().clamp(1e-3, 1e6)
        # A constant input has no scale to divide by.
        return torch.where(std > 0.01, std, 1.0)
