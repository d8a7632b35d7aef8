"""Observations of any space as arrays by key: what agents read, and how it is made.

| space | array |
|---|---|
| Box | the same; a scalar is a vector of one |
| Box that looks like a picture in another layout | (height, width, channels) |
| Discrete, MultiDiscrete | one-hot vectors, joined, uint8 |
| MultiBinary | the same as a vector uint8 |
| Text | a one-hot vector for each character, joined, uint8; zeros after the end |
| Dict, Tuple | those of its parts, with keys such as `hand.left`, `hand.0` |
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.pictures import as_picture, channels_last
from amago2.env.spaces import Array, short
from amago2.errors import ConfigError

DEFAULT_KEY = "observation"
"""Key under which an observation that is no Dict or Tuple is stored."""
MASK_KEY = "action_mask"
"""Key of the observation that says which discrete actions are allowed."""
MAX_ONE_HOT = 4096
"""Numbers in a one-hot vector that stands for something else."""
SUPPORTED = "use Box, Discrete, MultiDiscrete, MultiBinary, Text, or a Dict or Tuple of them"


class EncodedBox(gym.spaces.Box):
    """The Box of arrays into which the observations of another space are turned."""

    def __init__(self, origin: gym.Space[Any], like: gym.spaces.Box) -> None:
        super().__init__(like.low, like.high, like.shape, like.dtype.type)
        self.origin = origin

    def encode(self, value: Any) -> Array:
        """The array for an observation. Raises `ValueError` if it is none of the origin."""
        encoder = next(found for kind, found in _ENCODERS.items() if isinstance(self.origin, kind))
        return encoder(self.origin, value, self.shape)


def observation_space(space: Any) -> dict[str, gym.spaces.Box]:
    """Boxes of an observation space by key, sorted; a plain one gets the key `observation`.

    Raises `ConfigError` for what cannot be an array of bounded size, and where there is nothing to
    see.
    """
    boxes: dict[str, gym.spaces.Box] = {}
    for key, leaf in _leaves(space, ""):
        name = key or DEFAULT_KEY
        if name in boxes:
            raise ConfigError(f"observation_space has two observations that are called {name}")
        boxes[name] = _box(name, leaf, "" if leaf is space else f" has {name},")
    return dict(sorted(boxes.items()))


def _leaves(space: Any, above: str) -> Iterator[tuple[str, Any]]:
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        pairs = space.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces)
        if not len(space):
            raise ConfigError(
                f"observation_space{f' has {above},' if above else ' is'} an empty "
                f"{type(space).__name__}; it must have at least one key"
            )
        for key, inner in pairs:
            if isinstance(space, gym.spaces.Dict) and not isinstance(key, str):
                raise ConfigError(f"observation_space has the key {key!r}; keys must be text")
            yield from _leaves(inner, f"{above}.{key}" if above else str(key))
    else:
        yield above, space


def _box(key: str, space: Any, which: str) -> gym.spaces.Box:
    if isinstance(space, EncodedBox):
        return space
    if isinstance(space, gym.spaces.Box):
        return _checked_box(key, space)
    count = one_hot_size(space)
    if count is None:
        raise ConfigError(
            f"observation_space{which} {short(space)}, which is not supported; {SUPPORTED}, "
            "or let a wrapper (env.wrappers) leave it out or turn it into one of these"
        )
    if not 0 < count <= MAX_ONE_HOT:
        raise ConfigError(
            f"observation_space{which} {short(space)}, whose one-hot vector has {count:,} numbers, "
            f"and may have {MAX_ONE_HOT:,}"
        )
    return EncodedBox(space, gym.spaces.Box(0, 1, (count,), np.uint8))


def one_hot_size(space: Any) -> int | None:
    """Numbers that stand for an observation of the space; None if there is no such vector."""
    match space:
        case gym.spaces.Discrete():
            return int(space.n)
        case gym.spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case gym.spaces.MultiBinary():
            return math.prod(space.shape)
        case gym.spaces.Text():
            return space.max_length * len(space.character_set)
    return None


def _checked_box(key: str, box: gym.spaces.Box) -> gym.spaces.Box:
    if not math.prod(box.shape):
        raise ConfigError(f"observation_space has {key} of shape {box.shape}, without a number")
    if box.dtype.itemsize > 8:
        raise ConfigError(f"observation_space has {key} of {box.dtype}; use float32")
    if not box.shape:
        dtype: Any = box.dtype
        return gym.spaces.Box(box.low.reshape(1), box.high.reshape(1), dtype=dtype)
    picture = as_picture(box)
    return box if picture is None else EncodedBox(box, picture)


def scalar_keys(space: Any) -> set[str]:
    """Keys, as `observation_space` names them, whose observations are scalars."""
    leaves = ((key or DEFAULT_KEY, leaf) for key, leaf in _leaves(space, ""))
    return {key for key, leaf in leaves if isinstance(leaf, gym.spaces.Box) and leaf.shape == ()}


def as_dict(observation: Any) -> dict[str, Array]:
    """An observation by key, if its space has no Dict in another."""
    return observation if isinstance(observation, dict) else {DEFAULT_KEY: observation}


def flattened(observation: Any, boxes: Mapping[str, gym.spaces.Box]) -> dict[str, Any]:
    """What an observation holds for each key of `boxes`, encoded; other keys are kept, too.

    Raises `ValueError` for a value that is none of its space.
    """
    found = {}
    for key, value in _values(observation, "", boxes):
        name, box = key or DEFAULT_KEY, boxes.get(key or DEFAULT_KEY)
        try:
            found[name] = box.encode(value) if isinstance(box, EncodedBox) else value
        except (TypeError, ValueError, OverflowError, KeyError, IndexError):
            origin = box.origin if isinstance(box, EncodedBox) else box
            raise ValueError(
                f"observation {name!r} is {str(value)[:60]!r} ({type(value).__name__}), but its "
                f"space declares {short(origin) if origin else 'nothing'}"
            ) from None
    return found


def _values(value: Any, above: str, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if (above or DEFAULT_KEY) in known and not (isinstance(value, Mapping) and not above):
        yield above, value
    elif isinstance(value, Mapping | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in pairs:
            yield from _values(inner, f"{above}.{key}" if above else str(key), known)
    else:
        yield above, value


# --- encoders: (space, value, shape of the result) -> array ---------------------------------------


def _one_hot(space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    return _joined(np.array([_whole(value) - int(space.start)]), np.array([space.n]), shape)


def _one_hots(space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    given = np.asarray(value)
    if given.shape != space.nvec.shape or given.dtype.kind not in "iu":
        raise ValueError
    index: Array = given.astype(np.int64) - space.start
    return _joined(index.ravel(), space.nvec.ravel(), shape)


def _joined(index: Array, counts: Array, shape: tuple[int, ...]) -> Array:
    if ((index < 0) | (index >= counts)).any():
        raise ValueError
    made = np.zeros(shape, np.uint8)
    made[np.cumsum(counts) - counts + index] = 1
    return made


def _whole(value: Any) -> int:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise ValueError
    return int(array.reshape(-1)[0])


def _bits(space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    given = np.asarray(value)
    if (
        given.shape != space.shape
        or given.dtype.kind not in "biu"
        or not np.isin(given, (0, 1)).all()
    ):
        raise ValueError
    return given.astype(np.uint8).reshape(shape)


def _characters(space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    if not isinstance(value, str) or len(value) > space.max_length:
        raise ValueError
    made = np.zeros((space.max_length, len(space.character_set)), np.uint8)
    made[np.arange(len(value)), [space.character_index(char) for char in value]] = 1
    return made.reshape(shape)


def _picture(space: Any, value: Any, shape: tuple[int, ...]) -> Array:
    given = np.asarray(value)
    if given.shape != space.shape:
        raise ValueError
    return channels_last(given).reshape(shape)


_ENCODERS: dict[type, Callable[[Any, Any, tuple[int, ...]], Array]] = {
    gym.spaces.Discrete: _one_hot,
    gym.spaces.MultiDiscrete: _one_hots,
    gym.spaces.MultiBinary: _bits,
    gym.spaces.Text: _characters,
    gym.spaces.Box: _picture,
}
