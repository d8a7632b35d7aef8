"""What the agent needs to know of Gymnasium spaces: shapes, and how actions are represented.

| space | representation fed back to the agent, (A,) float32 | stored in replay |
|---|---|---|
| Discrete(n) | one-hot; zeros before the first action | index int16, -1 before the first action |
| Box | vector in [-1, 1], scaled linearly to the bounds | the same vector float32 |
| MultiBinary(n) | 0/1 vector | the same vector uint8 |

A Box of whole numbers divides [-1, 1] into equal shares, one for each of them.
"""

import math
import textwrap
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
MAX_DISCRETE = 2**15 - 1
"""Actions of a Discrete space: their indices are stored as int16."""
MAX_WHOLE = 2**20
"""Whole numbers in a dimension of a Box: enough float32 in [-1, 1] for each to be drawn."""


@dataclass(frozen=True)
class ActionSpec:
    """Kind and size A of an action space, with the bounds of a Box or the start of a Discrete."""

    kind: Literal["discrete", "continuous", "multibinary"]
    size: int
    low: Array | None = None
    high: Array | None = None
    """Bounds (A,) of the type that the environment takes."""
    start: int = 0

    @classmethod
    def of(cls, space: gym.Space[Any]) -> "ActionSpec":
        """Describe `space`. Raises `ConfigError` if the agent has no policy for it."""
        if problem := _action_problem(space):
            raise ConfigError(f"action_space {short(space)} {problem}")
        if isinstance(space, gym.spaces.Discrete):
            return cls("discrete", int(space.n), start=int(space.start))
        if isinstance(space, gym.spaces.MultiBinary):
            return cls("multibinary", space.shape[0])
        assert isinstance(space, gym.spaces.Box)
        return cls("continuous", space.shape[0], space.low, space.high)

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

    def holds(self, stored: Array) -> bool:
        """Whether all of `stored` can be stored actions, or the blank one."""
        if self.kind == "discrete":
            return bool(((stored >= -1) & (stored < self.size)).all())
        return bool(np.isfinite(stored).all()) and (
            self.kind == "continuous" or bool((stored <= 1).all())
        )

    def to_env(self, stored: Array) -> list[Any]:
        """Stored actions (N,) or (N, A), each in the form that an environment's `step` takes."""
        if self.kind == "discrete":
            return (stored.astype(np.int64) + self.start if self.start else stored).tolist()
        if self.kind == "multibinary":
            return list(stored.astype(np.int8))
        assert self.low is not None
        if self.low.dtype.kind == "f":
            return list((self.low + (stored + 1) / 2 * self._span).astype(self.low.dtype))
        share = (stored.astype(np.float64) + 1) / 2 * (self._span + 1)
        return list(self.low + np.clip(np.floor(share), 0, self._span).astype(self.low.dtype))

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

    @cached_property
    def _span(self) -> Array:
        """From the lower to the upper bound, (A,), rounded so that adding it never passes that."""
        assert self.low is not None
        assert self.high is not None
        if self.low.dtype.kind != "f":
            return self.high.astype(np.float64) - self.low.astype(np.float64)
        wide = _at_least_float32(self.low.dtype)
        low, high = self.low.astype(wide), self.high.astype(wide)
        span: Array = high - low
        return np.where(low + span > high, np.nextafter(span, np.zeros_like(span)), span)


def _action_problem(space: gym.Space[Any]) -> str | None:
    """Why the agent has no policy for an action space, and what it would have one for."""
    match space:
        case gym.spaces.Discrete():
            if space.n > MAX_DISCRETE:
                return f"is not supported: it has {space.n} actions, and may have {MAX_DISCRETE:,}"
        case gym.spaces.MultiBinary():
            if len(space.shape) != 1:
                return (
                    "is not supported: a MultiBinary must have one dimension, "
                    f"such as MultiBinary({math.prod(space.shape)})"
                )
        case gym.spaces.Box():
            return _box_action_problem(space)
        case gym.spaces.MultiDiscrete():
            product = math.prod(space.nvec.flatten().tolist())
            return (
                f"is not supported; let the environment take one Discrete({product}) and split "
                "its number with numpy.unravel_index, in a gymnasium.ActionWrapper"
            )
        case _:
            return (
                "is not supported; use Discrete(n), a bounded one-dimensional Box, or a "
                "one-dimensional MultiBinary (a gymnasium.ActionWrapper turns them into others)"
            )
    return None


def _box_action_problem(space: gym.spaces.Box) -> str | None:
    if len(space.shape) != 1 or not space.shape[0]:
        return (
            f"is not supported: its shape is {space.shape}, and a Box must have one dimension, "
            f"such as ({math.prod(space.shape) or 1},)"
        )
    if not is_bounded(space):
        return (
            "is unbounded, so actions cannot be scaled to it; give finite bounds, such as "
            "Box(-1, 1) (gymnasium.wrappers.RescaleAction and TransformAction change them)"
        )
    if space.dtype.kind != "f" and _widths(space).max() >= MAX_WHOLE:
        return (
            f"is not supported: it has more than {MAX_WHOLE:,} whole numbers in a dimension; "
            "use a Box of float32 and round in the environment"
        )
    return None


def is_bounded(box: gym.spaces.Box) -> bool:
    """Whether each number has bounds; the limits of floats, and of large integers, are none."""
    if box.dtype.kind != "f":
        return bool((_widths(box) < 2.0**31).all())
    limit = float(np.finfo(box.dtype.name).max)
    widest = float(np.finfo(_at_least_float32(box.dtype)).max)
    inside = (box.low > -limit) & (box.high < limit) & (_widths(box) <= widest)
    return bool(inside.all())


def _widths(box: gym.spaces.Box) -> Array:
    """Of each number's bounds, float64; infinite if there are none."""
    with np.errstate(over="ignore"):
        return box.high.astype(np.float64) - box.low.astype(np.float64)


def _at_least_float32(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.promote_types(dtype, np.float32)


def observation_space(space: Any) -> dict[str, gym.spaces.Box]:
    """Boxes of an observation space by key, sorted; a plain Box gets the key `observation`.

    A scalar's Box becomes that of a vector of one. Raises `ConfigError` for anything but Boxes, and
    for Boxes in which there is nothing to see.
    """
    spaces = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {DEFAULT_KEY: space}
    if not spaces:
        raise ConfigError("observation_space is an empty Dict; it must have at least one key")
    boxes: dict[str, gym.spaces.Box] = {}
    for key, box in spaces.items():
        if not isinstance(key, str):
            raise ConfigError(f"observation_space has the key {key!r}; keys must be text")
        if not isinstance(box, gym.spaces.Box):
            name = "" if key == DEFAULT_KEY and box is space else f" has {key},"
            raise ConfigError(
                f"observation_space{name} {short(box)}, which is not supported; use a Box or a "
                "Dict of Boxes (gymnasium.wrappers.FlattenObservation turns others into one)"
            )
        if not math.prod(box.shape):
            raise ConfigError(f"observation_space has {key} of shape {box.shape}, without a number")
        if box.dtype.itemsize > 8:
            raise ConfigError(f"observation_space has {key} of {box.dtype}; use float32")
        boxes[key] = box
    return {key: _vector(box) for key, box in sorted(boxes.items())}


def scalar_keys(space: Any) -> set[str]:
    """Keys, as `observation_space` names them, whose observations are scalars."""
    spaces = space.spaces if isinstance(space, gym.spaces.Dict) else {DEFAULT_KEY: space}
    return {key for key, box in spaces.items() if box.shape == ()}


def _vector(box: gym.spaces.Box) -> gym.spaces.Box:
    if box.shape:
        return box
    dtype: Any = box.dtype
    return gym.spaces.Box(box.low.reshape(1), box.high.reshape(1), dtype=dtype)


def as_dict(observation: Any) -> dict[str, Array]:
    """An observation by key, as `observation_space` names them."""
    return observation if isinstance(observation, dict) else {DEFAULT_KEY: observation}


def short(space: gym.Space[Any]) -> str:
    """A space in words, without the middle of very many."""
    return textwrap.shorten(repr(space), 200, placeholder=" ...")
