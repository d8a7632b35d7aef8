"""Masks of the allowed actions, which agents read as the observation `action_mask`.

A mask has a number for each discrete action, or for each choice of each part of a MultiDiscrete,
one after the other: 1 if it is allowed. One that allows nothing counts as one that allows all.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.observations import DEFAULT_KEY, MASK_KEY
from amago2.env.spaces import ActionSpec, Array
from amago2.errors import ConfigError


def mask_problem(boxes: Mapping[str, gym.spaces.Box], actions: ActionSpec) -> str | None:
    """Why the observation `action_mask` is no mask of these actions; None if it is one or none."""
    if MASK_KEY not in boxes:
        return None
    box = boxes[MASK_KEY]
    if any(choice.kind != "discrete" for choice in actions.choices):
        return (
            f"there is an observation {MASK_KEY}, but masks are for Discrete and MultiDiscrete "
            "actions; call it something else if it is no mask"
        )
    if box.shape != (actions.size,) or box.dtype.kind not in "biu":
        return (
            f"observation {MASK_KEY} is {box.dtype} of shape {box.shape}, but must have a whole "
            f"number, 0 or 1, for each of {actions.size} choices"
        )
    return None


class MaskFromInfo(gym.Wrapper[Any, Any, Any, Any]):
    """Moves `info["action_mask"]` to the observation, which becomes a Dict."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.size = ActionSpec.of(env.action_space).size
        inner = env.observation_space
        self.keyed = isinstance(inner, gym.spaces.Dict)
        spaces = dict(inner.spaces) if isinstance(inner, gym.spaces.Dict) else {DEFAULT_KEY: inner}
        if MASK_KEY in spaces:
            raise ConfigError(
                f"env.action_mask is info, but there is an observation {MASK_KEY}; leave it out"
            )
        spaces[MASK_KEY] = gym.spaces.MultiBinary(self.size)
        self.observation_space = gym.spaces.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = terminated or truncated
        return self._with_mask(observation, info, over), reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: Mapping[str, Any], over: bool = False) -> Any:
        mask: Array | Any = info.get(MASK_KEY)
        if mask is None and over:
            mask = np.zeros(self.size, np.int8)
        if mask is None:
            raise ValueError("env.action_mask is info, but info has no action_mask")
        if isinstance(mask, tuple | list):
            mask = np.concatenate([np.ravel(part) for part in mask])
        inner = dict(observation) if self.keyed else {DEFAULT_KEY: observation}
        return inner | {MASK_KEY: np.asarray(mask).astype(np.int8)}
