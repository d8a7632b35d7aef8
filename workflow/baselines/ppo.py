"""The formulas of recurrent PPO, each by itself.

Shapes: T timesteps, N actors, P chunks of at most K timesteps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from amago2.env.spaces import Array


def generalised_advantages(
    reward: Tensor,
    value: Tensor,
    value_n: Tensor,
    ended: Tensor,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (T, N) (Schulman et al. 2016, eq. 16).

    reward (T, N) of each timestep; value (T, N) of the state before it and value_n (T, N) of the
    one after it: 0 if the timestep terminated the return, the last state's own value if the rollout
    was truncated there. `ended` (T, N): the timestep was a rollout's last; no sum crosses it.
    """
    delta = reward + discount * value_n - value
    running, found = torch.zeros_like(reward[0]), torch.empty_like(reward)
    for t in range(len(reward) - 1, -1, -1):
        running = delta[t] + discount * gae_lambda * torch.where(ended[t], 0.0, running)
        found[t] = running
    return found


def clipped_loss(log_prob: Tensor, old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) with r = exp(log_prob - old), all of one shape.

    Schulman et al. 2017, eq. 7, with the sign of a loss.
    """
    ratio = (log_prob - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Mean () of x where `valid`, of the same shape, is true; it must be true somewhere."""
    return x[valid].mean()


@dataclass(frozen=True)
class Chunks:
    """Parts of rollouts, each from the rollout's start or from the end of the chunk before."""

    row: Array  # (P,) actor
    first: Array  # (P,) timestep of the round at which it starts
    length: Array  # (P,)

    def index(self, chosen: Array, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Timesteps (P', K), actors (P', 1) and validity (P', K) of chosen chunks (P',).

        K is `length`. Beyond a chunk's end its last timestep is repeated, and not valid.
        """
        ahead = np.arange(length)
        valid = ahead < self.length[chosen, None]
        last = self.length[chosen, None] - 1
        times = self.first[chosen, None] + np.minimum(ahead, last)
        return (
            torch.from_numpy(times),
            torch.from_numpy(self.row[chosen, None]),
            torch.from_numpy(valid),
        )


def split_into_chunks(started: Array, length: int) -> Chunks:
    """Chunks of a round, where `started` (T, N) marks the first timestep of each rollout.

    A chunk ends before the next rollout starts, and every `length` timesteps of the round.
    """
    steps, actors = started.shape
    starts = started.copy()
    starts[::length] = True
    rows, firsts, lengths = [], [], []
    for row in range(actors):
        first = np.flatnonzero(starts[:, row])
        rows += [row] * len(first)
        firsts += first.tolist()
        lengths += np.diff(first, append=steps).tolist()
    return Chunks(np.array(rows), np.array(firsts), np.array(lengths))
