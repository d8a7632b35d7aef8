"""Running moments of a vector, over the whole of every batch."""

import torch
from torch import Tensor, nn

from amago2.distributed import Alone


class Moments(nn.Module):
    """Exponential averages (D,) of a vector and of its square.

    Their rate is corrected for the start: the first batches dominate, then it settles at `rate`.
    """

    mean: Tensor
    square: Tensor
    count: Tensor
    ranks: Alone = Alone()
    """Those that hold the batch together."""

    def __init__(self, size: int, rate: float, square: float) -> None:
        """Begin with a mean of 0 and the mean `square`."""
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.full((size,), square))
        self.register_buffer("count", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Learn from this process's share (M, D) of a batch."""
        if not len(x):
            return
        self.count += 1
        rate = (self.rate / (1 - (1 - self.rate) ** self.count)).float()
        self.mean.lerp_(self.ranks.mean(x), rate)
        self.square.lerp_(self.ranks.mean(x * x), rate)
