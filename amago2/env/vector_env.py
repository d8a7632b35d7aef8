"""Many environments stepped together, each reset on its own with a seed of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.spaces import ActionSpec, Array, as_dict, observation_space
from amago2.errors import ConfigError

Info = dict[str, Any]


class VectorEnv:
    """N environments in this process. Nothing resets by itself."""

    def __init__(self, make: Callable[[int], gym.Env[Any, Any]], count: int) -> None:
        """Make environments `make(row)` for each row."""
        self.envs = [make(row) for row in range(count)]
        self.observations = observation_space(self.envs[0].observation_space)
        self.actions = ActionSpec.of(self.envs[0].action_space)
        self.observation: dict[str, Array] = {  # (N, ...) by key, as of the last reset or step
            key: np.zeros((count, *box.shape), box.dtype) for key, box in self.observations.items()
        }
        self.returned: tuple[Array, ...] = (  # reward, terminated, truncated, each (N,), likewise
            np.zeros(count),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )
        self.infos: list[Info] = [{} for _ in range(count)]
        self.default_task = type(self.envs[0].unwrapped).__name__

    def __len__(self) -> int:
        return len(self.infos)

    def reset(
        self,
        rows: Sequence[int],
        seeds: Sequence[int],
        options: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Start a rollout in each of some environments."""
        for row, seed, chosen in zip(rows, seeds, options or [None] * len(rows), strict=True):
            observation, self.infos[row] = self.envs[row].reset(
                seed=seed, options=dict(chosen) if chosen else None
            )
            self._check(row, observation)
            self._store(row, observation)

    def step(self, actions: Array, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """Step all environments (or the given rows) with stored-form actions.

        Returns reward float64, terminated, truncated, each (N,) or (len(rows),).
        """
        reward, terminated, truncated = self.returned
        chosen = range(len(self)) if rows is None else rows.tolist()
        for row, action in zip(chosen, self.actions.to_env(actions), strict=True):
            observation, reward[row], terminated[row], truncated[row], self.infos[row] = self.envs[
                row
            ].step(action)
            self._store(row, observation)
        return self._results(rows)

    def _results(self, rows: Array | None) -> tuple[Array, Array, Array]:
        """Copies of what the last step of some rows returned."""
        reward, terminated, truncated = (
            array.copy() if rows is None else array[rows] for array in self.returned
        )
        return reward, terminated, truncated

    def task(self, row: int) -> str:
        """The task that one environment's `info` names, else the environment's class."""
        return str(self.infos[row].get("task", self.default_task))

    def _check(self, row: int, observation: Any) -> None:
        """Raise `ConfigError` unless an observation is what its space says."""
        try:
            seen = {key: np.shape(value) for key, value in as_dict(observation).items()}
        except ValueError:
            seen = {}
        wanted = {key: box.shape for key, box in self.observations.items()}
        if seen != wanted:
            raise ConfigError(
                f"{type(self.envs[row].unwrapped).__name__}.reset returned an observation of "
                f"{seen or type(observation).__name__}, but its observation_space says {wanted}"
            )

    def _store(self, row: int, observation: Any) -> None:
        for key, value in as_dict(observation).items():
            self.observation[key][row] = value

    @property
    def tasks(self) -> tuple[str, ...]:
        """The environments' tasks; empty if they name none."""
        return tuple(getattr(self.envs[0].unwrapped, "tasks", ()))

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()
