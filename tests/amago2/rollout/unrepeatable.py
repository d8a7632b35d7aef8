"""Environments that do not repeat from their seed and actions, each in its own way."""

import itertools
from typing import Any

import numpy as np

from tests.amago2.toy import Observation, Toy

CHANCE = np.random.default_rng(0)
"""Drawn from by all: not the generator of `reset(seed)`."""
COUNT = itertools.count(1)
"""Of steps, in all environments of the process."""


class Unseeded(Toy):
    """Its length and observations are drawn from another generator."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self.length = int(CHANCE.integers(3, 13))
        return super().reset(seed=seed, options=options)

    def _observation(self) -> Observation:
        return {"o": CHANCE.uniform(-1, 1, 3).astype(np.float32)}


class Curriculum(Toy):
    """Gets longer with every reset of its own; nothing else shows it."""

    resets = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self.resets += 1
        self.length = 3 + self.resets
        return super().reset(seed=seed, options=options)


class UnseededReward(Toy):
    """Always five steps and the same observations."""

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        observation, reward, over, cut, info = super().step(action)
        return observation, reward + float(CHANCE.uniform()), over, cut, info


class UnseededEnd(Toy):
    """Nothing differs but the step at which a time limit ends the rollout."""

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        self.length = 10**6
        return observation, reward, False, bool(CHANCE.uniform() < 0.2), info


class UnseededTask(Toy):
    """The task's name is drawn from another generator."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self.name = f"task {CHANCE.integers(10**9)}"
        return observation, info | {"task": self.name}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        observation, reward, over, cut, info = super().step(action)
        return observation, reward, over, cut, info | {"task": self.name}


class Counting(Toy):
    """State of the process, not of the environment, is part of what is seen."""

    def _observation(self) -> Observation:
        return {"o": np.array([next(COUNT), 0, self.time], np.float32)}


class Failing(Toy):
    """The next `failures` steps fail, of whatever environment of the class."""

    failures = 0

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if Failing.failures:
            Failing.failures -= 1
            raise ValueError("this move is not possible")
        return super().step(action)
