"""The spaces for which an agent was made, as stored beside its weights, and their comparison."""

import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.pictures import channel_bounds, is_bytes, is_picture
from amago2.env.spaces import ActionSpec, short
from amago2.errors import ConfigError

Boxes = Mapping[str, gym.spaces.Box]


def describe_spaces(observations: Boxes, actions: ActionSpec) -> dict[str, Any]:
    """All of the spaces that an agent depends on, as JSON."""
    described: dict[str, Any] = {
        "kind": actions.kind,
        "size": actions.size,
        "low": None if actions.low is None else actions.low.tolist(),
        "high": None if actions.high is None else actions.high.tolist(),
    }
    if actions.low is not None:
        described["dtype"] = str(actions.low.dtype)
    if actions.start:
        described["start"] = actions.start
    return {
        "observations": {key: _describe(box) for key, box in observations.items()},
        "actions": described,
    }


def _describe(box: gym.spaces.Box) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": list(box.shape), "dtype": str(box.dtype)}
    if is_picture(box) and not is_bytes(box):
        low, high = channel_bounds(box)
        described |= {"low": low.tolist(), "high": high.tolist()}
    return described


def read_spaces(described: Mapping[str, Any]) -> tuple[dict[str, gym.spaces.Box], ActionSpec]:
    """Inverse of `describe_spaces`, but for the limits of Boxes, which no network needs.

    Raises `ValueError` if `described` is not what that function returns.
    """
    try:
        boxes = {key: _box(box) for key, box in described["observations"].items()}
        a = described["actions"]
        dtype = np.dtype(a.get("dtype", "float32"))
        low, high = (None if a[k] is None else np.array(a[k], dtype) for k in ("low", "high"))
        return boxes, ActionSpec(a["kind"], a["size"], low, high, a.get("start", 0))
    except (AttributeError, KeyError, OverflowError, TypeError, AssertionError) as error:
        raise ValueError(f"not a description of spaces: {error}") from None


def _box(described: Mapping[str, Any]) -> gym.spaces.Box:
    shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
    low: Any = -np.inf
    high: Any = np.inf
    if dtype == np.uint8:
        low, high = 0, 255
    if "low" in described:  # of each channel
        low, high = (np.broadcast_to(np.array(described[k], dtype), shape) for k in ("low", "high"))
    return gym.spaces.Box(low, high, shape, dtype.type)


def check_same_spaces(
    run: Path | str, made_for: Mapping[str, Any], observations: Boxes, actions: ActionSpec
) -> None:
    """Compare what the agent of `run` was made for, as described, with an environment's spaces.

    Raises `ConfigError`, which names what differs.
    """
    if differing := _differences(made_for, describe_spaces(observations, actions)):
        raise ConfigError(
            f"{run}: was made for {differing[0]}, but the environment now has {differing[1]}; "
            "use the environment as it was, or train anew"
        )


def check_eval_set(
    name: str, made_for: Mapping[str, Any], observations: Boxes, actions: ActionSpec
) -> None:
    """The same for the environments of an evaluation set and those of training."""
    if differing := _differences(made_for, describe_spaces(observations, actions)):
        raise ConfigError(
            f"env.eval_sets.{name}: its environment has {differing[1]}, but that of training has "
            f"{differing[0]}; they must be equal"
        )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str] | None:
    """What each of two descriptions has and the other has not, in words; None if they are equal."""
    one, other = (describe_spaces(*read_spaces(x)) for x in (one, other))
    old, new = one["observations"], other["observations"]
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    actions = one["actions"] != other["actions"]
    if not (changed or actions):
        return None
    first, second = (
        " and ".join(
            [f"observations {words_of_observations(x, changed)}"] * bool(changed)
            + [f"actions {words_of_actions(x)}"] * actions
        )
        for x in (one, other)
    )
    return first, second


def words_of_observations(described: Mapping[str, Any], keys: Collection[str] | None = None) -> str:
    """Keys with shape and type, and the bounds of pictures that need them."""
    found = [
        f"{key} {tuple(box['shape'])} {box['dtype']}"
        + (f" between {box['low']} and {box['high']}" if "low" in box else "")
        for key, box in sorted(described["observations"].items())
        if keys is None or key in keys
    ]
    return textwrap.shorten(", ".join(found) or "without them", 300, placeholder=" ...")


def words_of_actions(described: Mapping[str, Any]) -> str:
    """The space as Gymnasium would print it."""
    _, actions = read_spaces({"observations": {}, "actions": described["actions"]})
    if actions.kind == "discrete":
        return str(gym.spaces.Discrete(actions.size, start=actions.start))
    if actions.kind == "multibinary":
        return str(gym.spaces.MultiBinary(actions.size))
    assert actions.low is not None
    assert actions.high is not None
    return short(gym.spaces.Box(actions.low, actions.high, dtype=actions.low.dtype.type))
