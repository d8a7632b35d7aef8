"""A batch of sub-sequences, as replay samples it and the agent reads it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """L tokens of B sub-sequences; token t holds what is known before acting at t.

    The action, reward and termination *of* step t are in token t + 1: L tokens, L - 1 transitions.
    """

    observation: dict[str, Tensor]  # (B, L, ...) by key
    reward: Tensor  # (B, L) float32, of the previous step; 0 at a rollout's start
    action: Tensor  # (B, L, A) float32 representation of the previous action
    terminated: Tensor  # (B, L) bool, whether the previous step ended the return
    time: Tensor  # (B, L) int64, timesteps since the rollout's start
    valid: Tensor  # (B, L) bool, false for padding on the right

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            {key: _copied(x, device) for key, x in self.observation.items()},
            *(
                _copied(x, device)
                for x in (self.reward, self.action, self.terminated, self.time, self.valid)
            ),
        )


def _copied(x: Tensor, device: torch.device) -> Tensor:
    """On another device; a copy to a GPU goes on beside the host if it is from pinned memory."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)
