"""What the agent needs to know of Gymnasium spaces: shapes, and how actions are represented.

| space | representation fed back to the agent, (A,) float32 | stored in replay |
|---|---|---|
| Discrete(n) | one-hot; zeros before the first action | index int16, -1 before the first action |
| Box | vector in [-1, 1], scaled linearly to the bounds | the same vector float32 |
| MultiBinary(n) | 0/1 vector | the same vector uint8 |
| MultiDiscrete, Tuple, Dict | those of its parts, joined | the same vector float32 |

A Box of whole numbers divides [-1, 1] into equal shares, one for each of them. Arrays of more or
fewer than one dimension are vectors here, and have their shape when the environment takes them.
"""

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from amago2.errors import ConfigError

Array = NDArray[Any]
MAX_DISCRETE = 2**15 - 1
"""Actions of a Discrete space: their indices are stored as int16."""
MAX_WHOLE = 2**20
"""Whole numbers in a dimension of a Box: enough float32 in [-1, 1] for each to be drawn."""


@dataclass(frozen=True)
class ActionSpec:
    """Kind and size A of an action space, with the bounds of a Box or the start of a Discrete."""

    kind: Literal["discrete", "continuous", "multibinary", "product"]
    size: int
    low: Array | None = None
    high: Array | None = None
    """Bounds (A,) of the type that the environment takes."""
    start: int = 0
    shape: tuple[int, ...] | None = None
    """Of the arrays that the environment takes, unless it is (A,)."""
    parts: tuple["ActionSpec", ...] = ()
    """Of a product, in order."""
    keys: tuple[str, ...] | None = None
    """Of a product that is a Dict."""

    @classmethod
    def of(cls, space: gym.Space[Any]) -> "ActionSpec":
        """Describe `space`. Raises `ConfigError` if the agent has no policy for it."""
        if problem := _action_problem(space):
            raise ConfigError(f"action_space {short(space)} {problem}")
        match space:
            case gym.spaces.Discrete():
                return cls("discrete", int(space.n), start=int(space.start))
            case gym.spaces.MultiBinary():
                return cls("multibinary", math.prod(space.shape), shape=_unless_vector(space.shape))
            case gym.spaces.Box():
                low, high = space.low.reshape(-1), space.high.reshape(-1)
                return cls("continuous", len(low), low, high, shape=_unless_vector(space.shape))
            case gym.spaces.MultiDiscrete():
                starts = zip(space.nvec.ravel().tolist(), space.start.ravel().tolist(), strict=True)
                parts = [cls("discrete", n, start=start) for n, start in starts]
                return cls.product(parts, shape=space.shape)
            case gym.spaces.Dict():
                return cls.product(map(cls.of, space.values()), keys=tuple(space.keys()))
            case gym.spaces.Tuple():
                return cls.product(map(cls.of, space.spaces))
        raise AssertionError(space)

    @classmethod
    def product(
        cls,
        parts: Iterable["ActionSpec"],
        keys: tuple[str, ...] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> "ActionSpec":
        """Several actions taken together: as a Dict, as an array (MultiDiscrete), or as a Tuple."""
        parts = tuple(parts)
        size = sum(part.size for part in parts)
        return cls("product", size, shape=shape, parts=parts, keys=keys)

    @property
    def choices(self) -> tuple["ActionSpec", ...]:
        """The actions of which one is made, in order; itself, unless it is a product."""
        if not self.parts:
            return (self,)
        return tuple(choice for part in self.parts for choice in part.choices)

    def split(self, represented: Array) -> list[Array]:
        """Representations (..., A) of a product as those of its parts."""
        ends = np.cumsum([part.size for part in self.parts])[:-1]
        return np.split(represented, ends, -1)

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of one action in replay."""
        if self.kind == "discrete":
            return np.dtype("<i2")
        return np.dtype(("u1" if self.kind == "multibinary" else "<f4", (self.size,)))

    def blank(self) -> Array:
        """The stored form of 'no action yet', at a rollout's first timestep."""
        shape = () if self.kind == "discrete" else (self.size,)
        return np.full(shape, -1 if self.kind == "discrete" else 0, self.stored.base)

    def holds(self, stored: Array) -> bool:
        """Whether all of `stored` can be stored actions, or the blank one."""
        if self.kind == "discrete":
            return bool(((stored >= -1) & (stored < self.size)).all())
        return bool(np.isfinite(stored).all()) and (
            self.kind != "multibinary" or bool((stored <= 1).all())
        )

    def to_env(self, stored: Array) -> list[Any]:
        """Stored actions (N,) or (N, A), each in the form that an environment's `step` takes."""
        if self.kind == "discrete":
            return (stored.astype(np.int64) + self.start if self.start else stored).tolist()
        if self.kind == "product":
            return self._products_to_env(stored)
        arrays = self._arrays_to_env(stored)
        return list(arrays if self.shape is None else arrays.reshape(-1, *self.shape))

    def _arrays_to_env(self, stored: Array) -> Array:
        if self.kind == "multibinary":
            return stored.astype(np.int8)
        assert self.low is not None
        if self.low.dtype.kind == "f":
            return (self.low + (stored + 1) / 2 * self._span).astype(self.low.dtype)
        share = (stored.astype(np.float64) + 1) / 2 * (self._span + 1)
        return self.low + np.clip(np.floor(share), 0, self._span).astype(self.low.dtype)

    def _products_to_env(self, stored: Array) -> list[Any]:
        each = zip(self.parts, self.split(stored), strict=True)
        columns = [part.to_env(part.store(own)) for part, own in each]
        rows = list(zip(*columns, strict=True))
        if self.keys is not None:
            return [dict(zip(self.keys, row, strict=True)) for row in rows]
        if self.shape is not None:
            return [np.array(row, np.int64).reshape(self.shape) for row in rows]
        return list(rows)

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


def _unless_vector(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if len(shape) == 1 else shape


def _action_problem(space: gym.Space[Any]) -> str | None:
    """Why the agent has no policy for an action space, and what it would have one for."""
    match space:
        case gym.spaces.Discrete():
            if space.n > MAX_DISCRETE:
                return f"is not supported: it has {space.n} actions, and may have {MAX_DISCRETE:,}"
        case gym.spaces.MultiDiscrete():
            total = sum(space.nvec.flatten().tolist())
            if not 0 < total <= MAX_DISCRETE:
                return f"is not supported: it has {total} choices, and may have {MAX_DISCRETE:,}"
        case gym.spaces.MultiBinary():
            return None if math.prod(space.shape) else "has no action"
        case gym.spaces.Box():
            return _box_action_problem(space)
        case gym.spaces.Dict() | gym.spaces.Tuple():
            return _product_problem(space)
        case _:
            return (
                "is not supported; use Discrete, MultiDiscrete, MultiBinary, a bounded Box, or a "
                "Dict or Tuple of them (a gymnasium.ActionWrapper turns them into others)"
            )
    return None


def _product_problem(space: gym.spaces.Dict | gym.spaces.Tuple[Any]) -> str | None:
    inner = list(space.values()) if isinstance(space, gym.spaces.Dict) else list(space.spaces)
    if not inner:
        return "has no action"
    if isinstance(space, gym.spaces.Dict) and not all(isinstance(key, str) for key in space):
        return "is not supported: keys must be text"
    problems = ((part, _action_problem(part)) for part in inner)
    found = next(((part, problem) for part, problem in problems if problem), None)
    return None if found is None else f"holds {short(found[0])}, which {found[1]}"


def _box_action_problem(space: gym.spaces.Box) -> str | None:
    if not math.prod(space.shape):
        return f"has no action: its shape is {space.shape}"
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


def short(space: gym.Space[Any]) -> str:
    """A space in words, without the middle of very many."""
    return textwrap.shorten(repr(space), 200, placeholder=" ...")
