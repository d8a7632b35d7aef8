"""Actors that step environments through one rollout after the other, each with its own seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.rollout.collector import FinishedRollout
from amago2.rollout.replaying import (
    ROW,
    LastFinished,
    Replayed,
    fingerprint,
    read_actions,
    step_again,
)
from amago2.seeding import Stream, integer


class Actors:
    """N actors and their present rollouts.

    A checkpoint keeps an unfinished rollout as its number, hence its seed, and its actions; a
    resumed run steps it again.
    """

    def __init__(self, envs: VectorEnv, seed: int) -> None:
        self.envs, self.seed = envs, seed
        n = len(envs)
        self.number = np.zeros(n, np.int64)  # of each actor's present rollout
        self.started = np.ones(n, bool)  # whether it is at its first timestep
        self.reward = np.zeros(n, np.float32)  # of the previous step; 0 at a rollout's start
        self.action = np.stack([envs.actions.blank()] * n)  # the previous one, in stored form
        self.value = np.zeros(n)  # sum of its rewards so far
        self.history: list[list[Array]] = [[] for _ in range(n)]
        self.last_finished = LastFinished()

    def begin(self, rows: Sequence[int]) -> None:
        """Start the present rollouts of some actors."""
        self.envs.reset(rows, [self._rollout_seed(row) for row in rows])
        for row in rows:
            self.started[row] = True
            self.reward[row] = self.value[row] = 0.0
            self.action[row] = self.envs.actions.blank()
            self.history[row] = []

    def _rollout_seed(self, row: int) -> int:
        return integer(self.seed, Stream.ROLLOUT, row, int(self.number[row]))

    def step(self, actions: Array) -> tuple[Array, Array, Array]:
        """Step all actors with stored-form actions; ended rollouts stay at their last state.

        Returns reward float64, terminated, truncated, each (N,).
        """
        reward, terminated, truncated = self.envs.step(actions)
        if not np.isfinite(reward).all():
            row = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise RunError(f"task {self.envs.task(row)} gave a reward of {reward[row]}, not finite")
        self.started[:] = False
        self.reward[:], self.action[:] = reward, actions
        self.value += reward
        for row, action in enumerate(actions):
            self.history[row].append(action)
        return reward, terminated, truncated

    def renew(self, rows: Sequence[int]) -> list[FinishedRollout]:
        """Start the next rollouts of actors whose present ones ended. Returns the ended ones."""
        finished = [FinishedRollout(self.envs.task(row), float(self.value[row])) for row in rows]
        if ROW in rows:
            seed, value = self._rollout_seed(ROW), float(self.value[ROW])
            self.last_finished.remember(self.envs, seed, self.history[ROW], value)
        self.number[list(rows)] += 1
        self.begin(rows)
        return finished

    # --- checkpoints ----------------------------------------------------------------------------

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a resumed run needs: tensors, and plain values."""
        tensors, values = self.last_finished.state_dict()
        tensors |= {
            f"history.{row}": torch.from_numpy(np.stack(history))
            for row, history in enumerate(self.history)
            if history
        }
        return tensors, {
            "rollout": self.number.tolist(),
            "fingerprint": [self._fingerprint(row) for row in range(len(self.envs))],
            "last_finished": values,
        }

    def load_state_dict(
        self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> tuple[Replayed, list[int]]:
        """Load what `state_dict` gave: step every unfinished rollout again.

        Returns also the actors whose rollouts did not repeat, and which began the next one.
        """
        self.last_finished.load_state_dict(self.envs, tensors, values["last_finished"])
        exact = self.last_finished.repeats(self.envs)
        self.number[:] = values["rollout"]
        rows = range(len(self.envs))
        self.begin(rows)
        dropped = []
        for row, known in zip(rows, values["fingerprint"], strict=True):
            actions = read_actions(self.envs, tensors, f"history.{row}")
            if not self._replay(row, actions) or self._fingerprint(row) != known:
                dropped.append(row)
        if dropped:
            self.number[dropped] += 1
            self.begin(dropped)
        return Replayed(len(dropped), exact and not dropped), dropped

    def _replay(self, row: int, actions: Array) -> bool:
        """Step a rollout that has just begun again; False if it ends, as it did not before."""
        for action, reward, _, over in step_again(self.envs, row, actions):
            if over:
                return False
            self.started[row] = False
            self.reward[row], self.action[row] = reward[0], action[0]
            self.value[row] += reward[0]
            self.history[row].append(action[0])
        return len(self.history[row]) == len(actions)

    def _fingerprint(self, row: int) -> str:
        return fingerprint(self.envs, row, float(self.value[row]))
