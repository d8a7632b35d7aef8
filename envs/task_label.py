"""Any benchmark with the running task's true label in the observation.

For one question only: is it the inference of the task that an agent lacks, or is it the scale of
returns? No other environment lets an agent see a label.

The observation gets the key "task_label": one-hot over `known_tasks`, float32, so that tasks never
trained on have a place too.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.contract import Info, MultiTaskEnv, Observation, Transition

KEY = "task_label"


class TaskLabel(gymnasium.Wrapper[Observation, Any, Observation, Any]):
    """A benchmark whose observation says which task it is.

    Args:
        of: the benchmark, a class of this package: `popgym:MultiTaskPOPGym`.
        slot: its place among the environments stepped together, for benchmarks that take one.
        args: the benchmark's own arguments.
    """

    actor_slots = True
    env: MultiTaskEnv
    observation_space: spaces.Dict  # type: ignore[assignment]  # as in `envs.contract`

    def __init__(self, *, of: str, slot: int = 0, **args: Any) -> None:
        made = _class(of)
        if "slot" in inspect.signature(made).parameters:
            args["slot"] = slot
        super().__init__(made(**args))
        known = self.env.known_tasks
        self._labels = dict(zip(known, np.eye(len(known), dtype=np.float32), strict=True))
        label = spaces.Box(0, 1, (len(known),), np.float32)
        self.observation_space = spaces.Dict({**self.env.observation_space.spaces, KEY: label})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """As the benchmark's own."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._labelled(observation, info), info

    def step(self, action: Any) -> Transition:
        """As the benchmark's own."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._labelled(observation, info), reward, terminated, truncated, info

    def _labelled(self, observation: Observation, info: Info) -> Observation:
        return {**observation, KEY: self._labels[info["task"]].copy()}


def _class(of: str) -> type[MultiTaskEnv]:
    """The benchmark's class, from this package alone. Raises ValueError if there is none."""
    module, _, name = of.partition(":")
    try:
        found = getattr(importlib.import_module(f"envs.{module}"), name, None)
    except ModuleNotFoundError:
        found = None
    if not (isinstance(found, type) and issubclass(found, MultiTaskEnv)):
        raise ValueError(f"of: expected a benchmark such as popgym:MultiTaskPOPGym, not {of!r}")
    return found
