"""A batch of sub-sequences, as replay samples it and the agent learns from it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """L tokens of B sub-sequences; token t holds what is known before acting at timestep t.

    The action, reward and termination *of* timestep t are in token t + 1, so L tokens make L - 1
    transitions.
    """

    observation: dict[str, Tensor]  # (B, L, ...) by key
    reward: Tensor  # (B, L) float32, of the previous timestep; 0 at a rollout's start
    action: Tensor  # (B, L, A) float32 representation of the previous action
    terminated: Tensor  # (B, L) bool, whether the return ended with the previous timestep
    time: Tensor  # (B, L) int64, timesteps since the rollout's start
    valid: Tensor  # (B, L) bool, false for padding on the right

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            {key: _copy_to(device, x) for key, x in self.observation.items()},
            *(
                _copy_to(device, x)
                for x in (self.reward, self.action, self.terminated, self.time, self.valid)
            ),
        )


def _copy_to(device: torch.device, x: Tensor) -> Tensor:
    """`x` on a device; from pinned memory, a GPU copies it while the host goes on computing."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)
