"""PopArt: running normalisation of values that preserves the unnormalised outputs.

One instance serves all tasks, with separate statistics per discount, as in the paper's
scale-dependent losses. The linear layer (weight, bias) behind the network is not trained: it only
undoes each change of the statistics (van Hasselt et al. 2016, here as a frozen layer).
"""

import torch
from torch import Tensor

from amago2.nets.normalisation import RunningMoments


class PopArt(RunningMoments):
    """Statistics per discount (G,). Values have any leading shape (..., G)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, discounts: int, rate: float) -> None:
        super().__init__(discounts, rate, square=100.0)
        self.register_buffer("weight", torch.ones(discounts))
        self.register_buffer("bias", torch.zeros(discounts))

    @property
    def std(self) -> Tensor:
        """Standard deviation (G,), within [1e-4, 1e6]; the variance is clamped before the root."""
        return (self.square - self.mean**2).clamp(1e-4, 1e8).sqrt().clamp(1e-4, 1e6)

    @torch.no_grad()
    def update(self, targets: Tensor) -> None:
        """Learn from TD targets (M, G) and adjust weight and bias so that values stay the same."""
        if self.held or not len(targets):
            return
        old_mean, old_std = self.mean.clone(), self.std
        super().update(targets)
        new_std = self.std
        self.weight.mul_(old_std / new_std)
        self.bias.copy_((old_std * self.bias + old_mean - self.mean) / new_std)

    def normalised_outputs(self, outputs: Tensor) -> Tensor:
        """Network outputs (..., G) in normalised units, those of the present statistics."""
        return outputs * self.weight + self.bias

    def values(self, outputs: Tensor) -> Tensor:
        """Network outputs (..., G) as returns."""
        return self.normalised_outputs(outputs) * self.std + self.mean

    def normalise(self, values: Tensor) -> Tensor:
        """Returns (..., G) in normalised units."""
        return (values - self.mean) / self.std
