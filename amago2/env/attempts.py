"""Several attempts at one task in each rollout, of which an agent may learn for the next."""

from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.observations import DEFAULT_KEY
from amago2.errors import ConfigError

NEW_ATTEMPT = "new_attempt"


class MultiAttempt(gym.Wrapper[Any, Any, Any, Any]):
    """A rollout of `attempts` episodes of the wrapped environment, one after the other.

    An episode's end begins the next one in the same step, whose observation is already that of the
    new one; only the last ends the rollout. The observation becomes a Dict with `new_attempt` (1,),
    which is 1 where one begins. The info of a step that ends one has `attempt`, `attempt_return`,
    and `success` if the episode's has `success` or `is_success`.
    """

    def __init__(self, env: gym.Env[Any, Any], attempts: int = 2, same_start: bool = True) -> None:
        """With `same_start`, every attempt of a rollout begins from the same seed.

        Otherwise only the task is the same, if the environment has tasks.
        """
        super().__init__(env)
        if attempts < 1:
            raise ConfigError(f"MultiAttempt: attempts is {attempts}; it must be at least 1")
        self.attempts, self.same_start = attempts, same_start
        inner = env.observation_space
        self.keyed = isinstance(inner, gym.spaces.Dict)
        spaces = dict(inner.spaces) if isinstance(inner, gym.spaces.Dict) else {DEFAULT_KEY: inner}
        if NEW_ATTEMPT in spaces:
            raise ConfigError(f"MultiAttempt: there is an observation {NEW_ATTEMPT} already")
        spaces[NEW_ATTEMPT] = gym.spaces.Box(0, 1, (1,), np.float32)
        self.observation_space = gym.spaces.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin the first attempt."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        elif not hasattr(self, "_rng"):
            self._rng = np.random.default_rng()
        self._seed = int(self._rng.integers(2**31)) if seed is None else seed
        self._number, self._return, self._options = 0, 0.0, options
        observation, info = self.env.reset(seed=self._seed, options=options)
        self._task = info.get("task")
        return self._with_flag(observation, True), {**info, "attempt": 0}

    def step(self, action: Any) -> Any:
        """Step the attempt, and begin the next one if it has ended."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        info = {**info, "attempt": self._number}
        over = bool(terminated or truncated)
        if not over:
            return self._with_flag(observation, False), reward, False, False, info
        info["attempt_return"] = self._return
        success = info.get("success", info.get("is_success"))
        if success is not None:
            info["success"] = success
        self._number, self._return = self._number + 1, 0.0
        if self._number == self.attempts:
            return self._with_flag(observation, False), reward, terminated, truncated, info
        again = dict(self._options or {})
        if not self.same_start:  # else the same seed draws the same task
            self._seed = int(self._rng.integers(2**31))
            if self._task is not None and self.has_wrapper_attr("tasks"):
                again["task"] = self._task
        observation, _ = self.env.reset(seed=self._seed, options=again or None)
        return self._with_flag(observation, True), reward, False, False, info

    def _with_flag(self, observation: Any, begins: bool) -> dict[str, Any]:
        inner = dict(observation) if self.keyed else {DEFAULT_KEY: observation}
        return inner | {NEW_ATTEMPT: np.array([begins], np.float32)}
