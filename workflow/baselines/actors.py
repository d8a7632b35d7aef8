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

    def begin(self, rows: Sequence[int]) -> None:
        """Start the present rollouts of some actors."""
        seeds = [integer(self.seed, Stream.ROLLOUT, row, int(self.number[row])) for row in rows]
        self.envs.reset(rows, seeds)
        for row in rows:
            self.started[row] = True
            self.reward[row] = self.value[row] = 0.0
            self.action[row] = self.envs.actions.blank()
            self.history[row] = []

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
        self.number[list(rows)] += 1
        self.begin(rows)
        return finished

    # --- checkpoints ----------------------------------------------------------------------------

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a resumed run needs: tensors, and plain values."""
        histories = {
            f"history.{row}": torch.from_numpy(np.stack(history))
            for row, history in enumerate(self.history)
            if history
        }
        return histories, {"rollout": self.number.tolist()}

    def load_state_dict(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Load what `state_dict` gave: step every unfinished rollout again."""
        self.number[:] = values["rollout"]
        self.begin(range(len(self.envs)))
        for row in range(len(self.envs)):
            actions = tensors.get(f"history.{row}")
            for action in [] if actions is None else actions.numpy():
                reward, _, _ = self.envs.step(action[None], np.array([row]))
                self.started[row] = False
                self.reward[row], self.action[row] = reward[0], action
                self.value[row] += reward[0]
                self.history[row].append(action)
