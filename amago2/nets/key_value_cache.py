"""The Transformer's memory while it acts: keys and values of the last timesteps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from amago2.nets.transfer import to_device


class LayerWindow(NamedTuple):
    """What a timestep reads of a layer's cache, of which it writes the last entry first."""

    keys: Tensor
    """(N * H, W, D / H)"""
    values: Tensor
    """(N * H, W, D / H)"""
    written: Tensor
    """Key and value of the timestep (2, N * H, D / H)."""


@dataclass
class KeyValueCache:
    """Keys and values of the last `context` timesteps of N rollouts.

    entries: (layers, 2, N * H, room, D / H). The latest timestep of all rollouts lies just before
    `end`. There is more room than `context`, so that entries rarely have to move to the left.
    steps: (N,) int64, timesteps seen since the reset. end: (1,) int64. Both are on the CPU.
    """

    context: int
    entries: Tensor
    steps: Tensor
    end: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout: its entries are not attended to from now on."""
        self.steps[row] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint; to load them, copy into these."""
        return {"entries": self.entries, "steps": self.steps, "end": self.end}

    def fits(self, time: Sequence[int]) -> bool:
        """Whether it can be the memory of rollouts of this age."""
        longest = min(max(time), self.context)
        in_room = longest <= int(self.end) <= self.entries.shape[3]
        return in_room and self.steps.tolist() == list(time)

    def next(self) -> tuple[Iterator[LayerWindow], Tensor | None]:
        """Make room for one more timestep.

        Returns the window of each layer, and which of its entries a rollout does not attend to,
        (N * H, 1, W), if any.
        """
        ends, steps = self.end.numpy(), self.steps.numpy()
        steps += 1
        counts = steps.tolist()  # faster than NumPy for few rollouts
        longest, unseen = min(max(counts), self.context), None
        end = int(ends[0])
        if end == self.entries.shape[3]:
            moved = self.entries[..., end - longest + 1 :, :].clone()
            end = longest - 1
            self.entries[..., :end, :] = moved
        ends[0] = end + 1
        if min(counts) < longest:
            mask = np.arange(longest) < (longest - steps)[:, None]
            by_head = mask.repeat(self.entries.shape[2] // len(mask), 0)[:, None]
            unseen = to_device(torch.from_numpy(by_head), self.entries.device)
        # Views of all layers at once: with few actors, each costs as much as an operation.
        seen = self.entries.flatten(0, 1).narrow(2, end + 1 - longest, longest).unbind()
        written = self.entries.select(3, end).unbind()
        return map(LayerWindow, seen[::2], seen[1::2], written), unseen
