"""A tiny environment and configuration for tests: one attempt of five steps, a second to train."""

import time
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build

LENGTH = 5
Observation = dict[str, NDArray[np.float32]]


class Toy(gym.Env[Observation, Any]):
    """Two tasks, `left` and `right`. Discrete, or continuous with `continuous`."""

    tasks = ("left", "right")

    def __init__(
        self,
        continuous: bool = False,
        nan_after: int | None = None,
        nan_reward_after: int | None = None,
        length: int = LENGTH,
    ) -> None:
        space = gym.spaces.Box(-9, 9, (3,), np.float32)
        self.observation_space: gym.Space[Any] = gym.spaces.Dict({"o": space})
        self.action_space = (
            gym.spaces.Box(-2, 2, (2,), np.float32) if continuous else gym.spaces.Discrete(3)
        )
        self.continuous, self.steps, self.length = continuous, 0, length
        self.nan_after, self.nan_reward_after = nan_after, nan_reward_after

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.task = (options or {}).get("task") or self.tasks[self.np_random.integers(2)]
        self.time, self.total = 0, 0.0
        return self._observation(), {"task": self.task, "split": "train", "attempt": 0}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.steps += 1
        wanted = self.tasks.index(self.task)
        reward = float(action[0] > 0) if self.continuous else float(action == wanted)
        if self.nan_reward_after is not None and self.steps > self.nan_reward_after:
            reward = float("nan")
        self.total += reward
        over = self.time == self.length
        info = {"task": self.task, "split": "train", "attempt": 0}
        if over:
            info |= {"attempt_return": self.total, "success": self.total > 2}
        return self._observation(), reward, over, False, info

    def _observation(self) -> Observation:
        noise = self.np_random.standard_normal()
        sign = float(self.tasks.index(self.task)) if self.time == 0 else 0.0
        if self.nan_after is not None and self.steps > self.nan_after:
            noise = float("nan")
        return {"o": np.array([sign, noise, self.time], np.float32)}


class Endless(Toy):
    """Never terminates; is cut after twelve steps."""

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, self.time == 12, info


class Late(Toy):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        time.sleep(self.seconds)
        return super().step(action)


class Named(Toy):
    """Both tasks have the label that is given."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | {"task": self.label}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        *result, info = super().step(action)
        return *result, info | {"task": self.label}  # type: ignore[return-value]


SMALL: dict[str, Any] = {
    "env": {"entry_point": "tests.amago2.toy:Toy"},
    "agent": {
        "actor": "filtered_imitation",
        "critic": "two_hot",
        "discounts": [0.5, 0.9],
        "head_hidden_sizes": [16, 16],
        "bins": 16,
    },
    "timestep_encoder": {"kind": "feed_forward", "hidden_sizes": [16], "output_size": 8},
    "trajectory_encoder": {
        "context_length": 5,
        "width": 16,
        "layers": 2,
        "heads": 2,
        "feedforward_size": 32,
    },
    "learner": {
        "batch_size": 8,
        "learning_rate": 1e-3,
        "warmup_updates": 5,
        "updates_per_epoch": 4,
    },
    "collector": {
        "actors": 3,
        "steps_per_epoch": 12,  # leaves rollouts unfinished at every epoch's end
        "epochs": 6,
        "exploration": {"anneal_steps": 40},
    },
    "replay": {"capacity": 150, "shard_size": 40},
    "evaluation": {"every": 2, "rollouts": 2, "final_rollouts": 3, "actors": 4},
    "checkpoint": {"every": 1, "keep": 2},
}


def small(**over: Any) -> AmagoConfig:
    """A configuration that trains in a second; keyword arguments are partial sections."""
    return build([Layer("small", SMALL), Layer("test", over)])
