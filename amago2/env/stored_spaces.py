"""The spaces for which an agent was made, as stored beside its weights, and their comparison."""

import math
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np

from amago2.env.observations import EncodedBox
from amago2.env.pictures import channel_bounds, is_bytes, is_picture
from amago2.env.spaces import ActionSpec, short
from amago2.errors import ConfigError

Boxes = Mapping[str, gym.spaces.Box]


def describe_spaces(observations: Boxes, actions: ActionSpec) -> dict[str, Any]:
    """All of the spaces that an agent depends on, as JSON."""
    return {
        "observations": {key: _describe(box) for key, box in observations.items()},
        "actions": _describe_actions(actions),
    }


def _describe_actions(actions: ActionSpec) -> dict[str, Any]:
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
    if actions.shape is not None:
        described["shape"] = list(actions.shape)
    if actions.keys is not None:
        described["keys"] = list(actions.keys)
    if actions.parts:
        described["parts"] = [_describe_actions(part) for part in actions.parts]
    return described


def _describe(box: gym.spaces.Box) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": list(box.shape), "dtype": str(box.dtype)}
    if is_picture(box) and not is_bytes(box):
        low, high = channel_bounds(box)
        described |= {"low": low.tolist(), "high": high.tolist()}
    if isinstance(box, EncodedBox):
        described["of"] = _describe_origin(box.origin)
    return described


def _describe_origin(space: gym.Space[Any]) -> dict[str, Any]:
    match space:
        case gym.spaces.Discrete():
            return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
        case gym.spaces.MultiDiscrete():
            counts, starts = space.nvec.tolist(), space.start.tolist()
            return {"kind": "multidiscrete", "n": counts, "start": starts}
        case gym.spaces.MultiBinary():
            return {"kind": "multibinary", "shape": list(space.shape)}
        case gym.spaces.Text():
            known = {"characters": "".join(space.character_list), "min_length": space.min_length}
            return {"kind": "text", "max_length": space.max_length, **known}
    return {"kind": "box", "shape": list(space.shape or ())}


def _origin(described: Mapping[str, Any], box: gym.spaces.Box) -> gym.Space[Any]:
    """Inverse of `_describe_origin`. Its kind and sizes are checked against `box`."""
    d, spaces = described, gym.spaces
    size, origin = math.prod(box.shape), cast("gym.Space[Any] | None", None)
    if d["kind"] == "discrete" and d["n"] == size:
        origin = spaces.Discrete(d["n"], start=d["start"])
    elif d["kind"] == "multidiscrete" and np.sum(d["n"]) == size:
        origin = spaces.MultiDiscrete(np.array(d["n"]), start=np.array(d["start"]))
    elif d["kind"] == "multibinary" and math.prod(d["shape"]) == size:
        origin = spaces.MultiBinary(d["shape"])
    elif d["kind"] == "text" and d["max_length"] * len(d["characters"]) == size:
        known = {"min_length": d["min_length"], "charset": d["characters"]}
        origin = spaces.Text(d["max_length"], **known)
    elif d["kind"] == "box" and math.prod(d["shape"]) == size:
        dtype: Any = box.dtype
        origin = spaces.Box(box.low.min(), box.high.max(), tuple(d["shape"]), dtype.type)
    if origin is None:
        raise ValueError(f"not a description of spaces: {d['kind']} and {size} numbers")
    return origin


def read_spaces(described: Mapping[str, Any]) -> tuple[dict[str, gym.spaces.Box], ActionSpec]:
    """Inverse of `describe_spaces`, but for the limits of Boxes, which no network needs.

    Raises `ValueError` if `described` is not what that function returns.
    """
    try:
        boxes = {key: _box(box) for key, box in described["observations"].items()}
        return boxes, _actions(described["actions"])
    except (AttributeError, KeyError, OverflowError, TypeError, AssertionError) as error:
        raise ValueError(f"not a description of spaces: {error}") from None


def _actions(a: Mapping[str, Any]) -> ActionSpec:
    dtype = np.dtype(a.get("dtype", "float32"))
    low, high = (None if a[k] is None else np.array(a[k], dtype) for k in ("low", "high"))
    shape, keys = (None if k not in a else tuple(a[k]) for k in ("shape", "keys"))
    parts = tuple(_actions(part) for part in a.get("parts", ()))
    made = ActionSpec(a["kind"], a["size"], low, high, a.get("start", 0), shape, parts, keys)
    if not _fits(made):
        raise ValueError("not a description of spaces: the parts of actions do not fit")
    return made


def _fits(actions: ActionSpec) -> bool:
    """Whether sizes, shape and keys are of as many parts as there are."""
    count = len(actions.parts) if actions.kind == "product" else actions.size
    if bool(actions.parts) != (actions.kind == "product"):
        return False
    if actions.parts and actions.size != sum(part.size for part in actions.parts):
        return False
    if actions.keys is not None and len(actions.keys) != count:
        return False
    return actions.shape is None or math.prod(actions.shape) == count


def _box(described: Mapping[str, Any]) -> gym.spaces.Box:
    shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
    low: Any = -np.inf
    high: Any = np.inf
    if dtype == np.uint8:
        low, high = 0, 255
    if "low" in described:  # of each channel
        low, high = (np.broadcast_to(np.array(described[k], dtype), shape) for k in ("low", "high"))
    box = gym.spaces.Box(low, high, shape, dtype.type)
    return EncodedBox(_origin(described["of"], box), box) if "of" in described else box


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


def check_data(
    name: str, made_for: Mapping[str, Any], observations: Boxes, actions: ActionSpec
) -> None:
    """The same for data that somebody else collected."""
    if differing := _differences(made_for, describe_spaces(observations, actions)):
        raise ConfigError(
            f"{name}: has {differing[0]}, but the environment has {differing[1]}; name data of "
            "this environment, or wrap it (env.wrappers) as that of the data was"
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
        + (f" (of {box['of']['kind']})" if "of" in box else "")
        for key, box in sorted(described["observations"].items())
        if keys is None or key in keys
    ]
    return textwrap.shorten(", ".join(found) or "without them", 300, placeholder=" ...")


def words_of_actions(described: Mapping[str, Any]) -> str:
    """The space as Gymnasium would print it."""
    _, actions = read_spaces({"observations": {}, "actions": described["actions"]})
    return short(_action_space(actions))


def _action_space(actions: ActionSpec) -> gym.Space[Any]:
    shape = (actions.size,) if actions.shape is None else actions.shape
    if actions.kind == "discrete":
        return gym.spaces.Discrete(actions.size, start=actions.start)
    if actions.kind == "multibinary":
        return gym.spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    if actions.kind == "product":
        parts = [_action_space(part) for part in actions.parts]
        if actions.keys is not None:
            return gym.spaces.Dict(dict(zip(actions.keys, parts, strict=True)))
        if actions.shape is not None:
            counts = np.array([part.size for part in actions.parts]).reshape(shape)
            starts = np.array([part.start for part in actions.parts]).reshape(shape)
            return gym.spaces.MultiDiscrete(counts, start=starts)
        return gym.spaces.Tuple(parts)
    assert actions.low is not None
    assert actions.high is not None
    low, high = actions.low.reshape(shape), actions.high.reshape(shape)
    return gym.spaces.Box(low, high, dtype=actions.low.dtype.type)
