"""A batch of sub-sequences: as replay samples it, and as the agent learns from it."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from amago2.agent.objectives import Transitions
from amago2.nets.rows import Rows
from amago2.nets.transfer import to_device


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


@dataclass(frozen=True)
class PreparedBatch:
    """A batch with all that depends on its lengths, so that a GPU never waits for a count."""

    observation: dict[str, Tensor]  # (B, L, ...) by key
    reward: Tensor  # (B, L)
    action: Tensor  # (B, L, A)
    time: Tensor  # (B, L)
    tokens: Rows  # the valid ones, of the flattened (B * L)
    action_t: Tensor  # (M, A) that was taken in each transition
    transitions: Transitions  # of M valid timesteps

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        moved: Self = _to(device, self)
        return moved


def _to(device: torch.device, x: Any) -> Any:
    """Tensors, and dictionaries and dataclasses of them, on a device."""
    if isinstance(x, dict):
        return {key: _to(device, value) for key, value in x.items()}
    return to_device(x, device) if isinstance(x, Tensor) else type(x)(**_to(device, vars(x)))
