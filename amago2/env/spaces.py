"""What the agent needs to know of Gymnasium spaces: shapes, and how actions are represented.

| space | representation fed back to the agent, (A,) float32 | stored in replay |
|---|---|---|
| Discrete(n) | one-hot; zeros before the first action | index int16, -1 before the first action |
| Box | vector in [-1, 1], scaled linearly to the bounds | the same vector float32 |
| MultiBinary(n) | 0/1 vector | the same vector uint8 |
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from amago2.errors import ConfigError

Array = NDArray[Any]
DEFAULT_KEY = "observation"
"""Key under which an observation that is no Dict is stored."""


@dataclass(frozen=True)
class ActionSpec:
    """Kind and size A of an action space, with the bounds of a Box."""

    kind: Literal["discrete", "continuous", "multibinary"]
    size: int
    low: Array | None = None
    high: Array | None = None

    @classmethod
    def of(cls, space: gym.Space[Any]) -> "ActionSpec":
        """Describe `space`. Raises `ConfigError` if the agent has no policy for it."""
        if isinstance(space, gym.spaces.Discrete) and space.start == 0 and space.n < 2**15:
            return cls("discrete", int(space.n))
        if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
            return cls("multibinary", space.shape[0])
        if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.is_bounded():
            return cls("continuous", space.shape[0], space.low, space.high)
        raise ConfigError(
            f"action space {space} is not supported; use Discrete(n) starting at 0, "
            "a bounded one-dimensional Box, or a one-dimensional MultiBinary"
        )

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of one action in replay."""
        if self.kind == "discrete":
            return np.dtype("<i2")
        return np.dtype(("<f4" if self.kind == "continuous" else "u1", (self.size,)))

    def blank(self) -> Array:
        """The stored form of 'no action yet', at a rollout's first timestep."""
        shape = () if self.kind == "discrete" else (self.size,)
        return np.full(shape, -1 if self.kind == "discrete" else 0, self.stored.base)

    def to_env(self, stored: Array) -> list[Any]:
        """Stored actions (N,) or (N, A), each in the form that an environment's `step` takes."""
        if self.kind == "discrete":
            return stored.tolist()
        if self.kind == "continuous":
            assert self.low is not None
            assert self.high is not None
            whole = self.low + (stored + 1) / 2 * (self.high - self.low)
            return list(whole.astype(self.low.dtype))
        return list(stored.astype(np.int8))

    def store(self, represented: Array) -> Array:
        """Stored form (N,) or (N, A) of represented actions (N, A)."""
        chosen = represented.argmax(-1) if self.kind == "discrete" else represented
        return chosen.astype(self.stored.base)

    def represent(self, stored: Array) -> Array:
        """Representations (..., A) float32 of stored actions."""
        return self._one_hot[stored] if self.kind == "discrete" else stored.astype(np.float32)

    @cached_property
    def _one_hot(self) -> Array:
        """Rows 0 to A - 1 are the actions'; the last, of index -1, has only zeros."""
        return np.eye(self.size + 1, self.size, dtype=np.float32)


def observation_space(space: gym.Space[Any]) -> dict[str, gym.spaces.Box]:
    """Boxes of an observation space by key, sorted; a plain Box gets the key `observation`.

    Raises `ConfigError` for anything but Boxes.
    """
    spaces = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {DEFAULT_KEY: space}
    boxes = {key: box for key, box in sorted(spaces.items()) if isinstance(box, gym.spaces.Box)}
    if len(boxes) != len(spaces):
        raise ConfigError(
            f"observation space {space} is not supported; use a Box or a Dict of Boxes "
            "(gymnasium.wrappers.FlattenObservation turns others into one)"
        )
    return boxes


def as_dict(observation: Any) -> dict[str, Array]:
    """An observation by key, as `observation_space` names them."""
    return observation if isinstance(observation, dict) else {DEFAULT_KEY: observation}
