"""What somebody else recorded of an environment, in the form in which replay stores it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from amago2.env.spaces import ActionSpec, Array

ROUNDING = 1e-4
"""Excess over a Box's bounds, relative to its width, that is taken for rounding."""


def at(recorded: Any, step: int) -> Any:
    """One timestep of recorded values: arrays and lists (T, ...), in dicts and tuples of any depth.

    Raises `IndexError` if there is none.
    """
    if isinstance(recorded, Mapping):
        return {key: at(value, step) for key, value in recorded.items()}
    if isinstance(recorded, tuple):
        return tuple(at(value, step) for value in recorded)
    return recorded[step]


def stored_actions(actions: ActionSpec, taken: Any) -> Array:
    """Stored form (T,) or (T, A) of actions as an environment takes them, recorded over T steps.

    Inverse of `ActionSpec.to_env`. Raises `ValueError` for what is no action.
    """
    if actions.kind == "product":
        pairs = zip(actions.parts, _of_parts(actions, taken), strict=True)
        made: list[Array] = [part.represent(stored_actions(part, own)) for part, own in pairs]
        return np.concatenate(made, -1)
    array = np.asarray(taken)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"are {array.dtype}, not numbers")
    if actions.kind == "discrete":
        return _indices(actions, array)
    size = (len(array), actions.size)
    if array.ndim < 1 or array.size != len(array) * actions.size:
        raise ValueError(f"have shape {array.shape[1:]}, and must have {actions.size} numbers")
    if actions.kind == "multibinary":
        if not np.isin(array, (0, 1)).all():
            raise ValueError("hold other numbers than 0 and 1")
        return array.reshape(size).astype(np.uint8)
    return _scaled(actions, array.reshape(size).astype(np.float64))


def _of_parts(actions: ActionSpec, taken: Any) -> Sequence[Any]:
    """What was recorded of each part of a product."""
    if actions.keys is not None:
        if not isinstance(taken, Mapping) or taken.keys() != set(actions.keys):
            raise ValueError(f"must have the keys {', '.join(actions.keys)}")
        return [taken[key] for key in actions.keys]
    if actions.shape is None and isinstance(taken, tuple):
        found: Sequence[Any] = taken
    else:
        array = np.asarray(taken)
        found = list(array.reshape(len(array), -1).T)
    if len(found) != len(actions.parts):
        raise ValueError(f"have {len(found)} parts, and must have {len(actions.parts)}")
    return found


def _indices(actions: ActionSpec, array: Array) -> Array:
    index: Array = array.reshape(len(array), -1).astype(np.int64) - actions.start
    if index.shape[1] != 1 or ((index < 0) | (index >= actions.size)).any():
        last = actions.start + actions.size - 1
        raise ValueError(f"must be one number each, from {actions.start} to {last}")
    return index[:, 0].astype(actions.stored.base)


def _scaled(actions: ActionSpec, array: Array) -> Array:
    """Actions (T, A) of a Box in [-1, 1]; whole numbers as the middle of their shares of it."""
    assert actions.low is not None
    assert actions.high is not None
    low, high = actions.low.astype(np.float64), actions.high.astype(np.float64)
    whole = actions.low.dtype.kind != "f"
    width = np.maximum(high - low, np.finfo(np.float32).tiny)
    excess = np.maximum(low - array, array - high) / width
    if not (excess <= ROUNDING).all():
        value = array.flat[int(np.argmax(~(excess <= ROUNDING)))]
        raise ValueError(f"hold {value:g}, which is out of the space's bounds")
    share = (array - low + 0.5) / (high - low + 1) if whole else (array - low) / width
    return np.clip(2 * share - 1, -1, 1).astype(actions.stored.base)
