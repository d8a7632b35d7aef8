"""The formulas of recurrent PPO, each by itself.

Shapes: T timesteps, N actors, P pieces of at most K timesteps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from amago2.env.spaces import Array


def advantages(
    reward: Tensor, value: Tensor, value_n: Tensor, ended: Tensor, discount: float, trace: float
) -> Tensor:
    """Generalised advantage estimates (T, N) (Schulman et al. 2016, eq. 16).

    reward (T, N) of each step; value (T, N) of the state before it, and value_n (T, N) of the one
    after it: 0 if the step terminated the return, the last state's own if it was cut short there.
    `ended` (T, N): the step was a rollout's last, beyond which nothing is added up.
    """
    delta = reward + discount * value_n - value
    total, found = torch.zeros_like(reward[0]), torch.empty_like(reward)
    for t in range(len(reward) - 1, -1, -1):
        total = delta[t] + discount * trace * torch.where(ended[t], 0.0, total)
        found[t] = total
    return found


def clipped_loss(log_prob: Tensor, old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) with r = exp(log_prob - old), all of one shape.

    Schulman et al. 2017, eq. 7, with the sign of a loss.
    """
    ratio = (log_prob - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Mean of x where `valid`, of the same shape, is true; it must be so somewhere."""
    return x[valid].mean()


@dataclass(frozen=True)
class Pieces:
    """Parts of rollouts, each from its start or from the end of the piece before."""

    row: Array  # (P,) actor
    first: Array  # (P,) timestep of the round at which it begins
    length: Array  # (P,)

    def index(self, chosen: Array, unroll: int) -> tuple[Tensor, Tensor, Tensor]:
        """Timesteps (P', K), actors (P', 1) and validity (P', K) of the chosen pieces (P',).

        Beyond a piece's end its last timestep is repeated, and not valid.
        """
        ahead = np.arange(unroll)
        valid = ahead < self.length[chosen, None]
        last = self.length[chosen, None] - 1
        times = self.first[chosen, None] + np.minimum(ahead, last)
        return (
            torch.from_numpy(times),
            torch.from_numpy(self.row[chosen, None]),
            torch.from_numpy(valid),
        )


def cut(started: Array, unroll: int) -> Pieces:
    """Pieces of a round, where `started` (T, N) marks the first timestep of each rollout.

    A piece ends before the next rollout starts, and every `unroll` timesteps of the round.
    """
    steps, actors = started.shape
    begins = started.copy()
    begins[::unroll] = True
    rows, firsts, lengths = [], [], []
    for row in range(actors):
        first = np.flatnonzero(begins[:, row])
        rows += [row] * len(first)
        firsts += first.tolist()
        lengths += np.diff(first, append=steps).tolist()
    return Pieces(np.array(rows), np.array(firsts), np.array(lengths))
