"""The boundary to an environment: what it returns, checked against what it declared.

Whatever does not fit raises `Mismatch`, whose text says what came and what was declared; who calls
names the environment, the actor and the step. `info` is plain data by the time it leaves here: the
task's label, and what an attempt that ended gave.

| given | taken |
|---|---|
| observation | one array for each declared key, of the declared shape |
| float space | any real numbers that are finite in float32; out of bounds: a warning |
| integer space | whole numbers within the bounds, of any type |
| reward | one number that is finite in float32 |
| terminated, truncated | a boolean, Python's or NumPy's, or 0 or 1 |
| info | a dict; only what `Attempt` and the task's label need is read |
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from amago2.env.observations import EncodedBox, flattened, observation_space, scalar_keys
from amago2.env.spaces import Array
from amago2.printing import plain

FLOAT32_MAX = float(np.finfo(np.float32).max)
ROUNDING = 1e-5
"""Relative excess over a float space's bounds that is taken for rounding."""
STEP_VALUES = ("observation", "reward", "terminated", "truncated", "info")
RESET_VALUES = ("observation", "info")


class Mismatch(ValueError):
    """What an environment returned is not what it should be. `row`: of which one, if it is told."""

    def __init__(self, text: str, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row


class Attempt(NamedTuple):
    """An attempt that a step ended."""

    number: int
    value: float
    """Sum of the rewards that count for the attempt."""
    success: float | None
    """0 or 1; None where the task knows no success."""


class Observations:
    """Observations (N, ...) of N environments by key, which take only what their space allows."""

    def __init__(self, space: gym.Space[Any], rows: int = 1, any_scalar: bool = False) -> None:
        """Raises `ConfigError` if the agent cannot read `space`.

        With `any_scalar`, a number alone is as good as a vector of one.
        """
        self.boxes = observation_space(space)
        self.keyed = isinstance(space, gym.spaces.Dict)
        self._scalars, self._any_scalar = scalar_keys(space), any_scalar
        parts = space.values() if isinstance(space, gym.spaces.Dict) else [space]
        plain = all(isinstance(part, gym.spaces.Box) for part in parts)
        encoded = any(isinstance(box, EncodedBox) for box in self.boxes.values())
        self._flatten = encoded or not plain or any_scalar
        ranges = {key: _range(box) for key, box in self.boxes.items()}
        self._floats = [key for key, box in self.boxes.items() if box.dtype.kind == "f"]
        self._whole = {k: x for k, x in ranges.items() if x and k not in self._floats}
        self._loose = {k: x for k, x in ranges.items() if x and k in self._floats}
        self.use({k: np.zeros((rows, *box.shape), box.dtype) for k, box in self.boxes.items()})

    def use(self, arrays: Mapping[str, Array]) -> None:
        """Keep the observations in these arrays (N, ...) instead, each of which is contiguous."""
        self.arrays = dict(arrays)
        self._targets = [(k, x, x.dtype, x.shape[1:]) for k, x in self.arrays.items()]
        self._flat = [(key, self.arrays[key].reshape(-1)) for key in self._floats]

    def store(self, row: int, observation: Any) -> None:
        """Take one environment's observation, but for its values: see `check`."""
        if self._flatten:
            observation = self._flattened(observation)
        elif self.keyed:
            if type(observation) is not dict or len(observation) != len(self._targets):
                self._check_keys(observation)
        else:
            observation = {self._targets[0][0]: observation}
        for key, target, dtype, shape in self._targets:
            try:
                value = observation[key]
            except KeyError:
                self._check_keys(observation)
                raise
            if type(value) is not np.ndarray or value.dtype is not dtype or value.shape != shape:
                value = self._converted(key, value)
            target[row] = value

    def _flattened(self, observation: Any) -> dict[str, Any]:
        """The values that an observation of any space holds, by key."""
        try:
            found = flattened(observation, self.boxes)
        except ValueError as error:
            raise Mismatch(str(error)) from None
        if found.keys() != self.boxes.keys():
            self._check_keys(found)
        return found

    def check(self, rows: Array | None = None, bounds: bool = True) -> list[tuple[str, int]]:
        """Check the values of all rows, or of some.

        Floats are checked for `bounds` only if asked to, because that takes longer. Returns
        warnings, each of which comes once, and of which row they are.
        """
        for key, values in self._flat:
            if not values.dot(values) <= FLOAT32_MAX:  # not even their squares' sum
                self._check_finite(key)
        for key, limits in self._whole.items():
            values = self.arrays[key] if rows is None else self.arrays[key][rows]
            if not _within(values, limits):
                low, high = self.boxes[key].low, self.boxes[key].high
                at, row = _first(~((low <= values) & (values <= high)), rows)
                raise Mismatch(f"{self._told(key, at, values)} to {high[at[1:]]}", row)
        if not (bounds and self._loose):
            return []
        return [told for key in list(self._loose) if (told := self._out_of_bounds(key, rows))]

    def _check_finite(self, key: str) -> None:
        values = self.arrays[key]
        refused = ~(np.abs(values, dtype=np.float64) <= FLOAT32_MAX)
        if refused.any():
            at, row = _first(refused, None)
            place = f"{key!r}{list(at[1:])}" if values[0].size > 1 else repr(key)
            raise Mismatch(f"observation {place} is {values[at]}; it must be finite", row)

    def _out_of_bounds(self, key: str, rows: Array | None) -> tuple[str, int] | None:
        """What to tell of floats out of bounds, which do no harm unless the bounds are used."""
        values = self.arrays[key] if rows is None else self.arrays[key][rows]
        if _within(values, self._loose[key]):
            return None
        del self._loose[key]
        box, wide = self.boxes[key], values.astype(np.float64)
        excess = np.maximum(box.low - wide, wide - box.high)
        if excess.max() <= ROUNDING * (1 + np.abs(wide).max()):
            return None
        at, row = _first(excess == excess.max(), rows)
        return f"{self._told(key, at, values)} to {box.high[at[1:]]}", row

    def _told(self, key: str, at: tuple[int, ...], values: Array) -> str:
        """An observation that is out of bounds, up to the lower one."""
        place = f"{key!r}{list(at[1:])}" if values[0].size > 1 else repr(key)
        low = self.boxes[key].low[at[1:]]
        return f"observation {place} is {values[at]}, but its space declares {low}"

    def read(self, observation: Any) -> dict[str, Array]:
        """One checked observation, each array of its box's shape and type: a copy."""
        self.store(0, observation)
        self.check(np.array([0]))
        return {key: array[0].copy() for key, array in self.arrays.items()}

    def _check_keys(self, observation: Any) -> None:
        """Raise unless it is a mapping with the declared keys."""
        declared = f"observation_space declares a Dict of {_keys(self.boxes)}"
        if not isinstance(observation, Mapping):
            raise Mismatch(f"the observation is {described(observation)}, but {declared}")
        if missing := self.boxes.keys() - observation.keys():
            raise Mismatch(f"the observation lacks {_keys(missing)}; {declared}")
        if extra := observation.keys() - self.boxes.keys():
            raise Mismatch(
                f"the observation has {_keys(extra)}, which observation_space does not declare: "
                f"it is a Dict of {_keys(self.boxes)}"
            )

    def _converted(self, key: str, value: Any) -> Array:
        """`value` in its box's shape and type, if that loses nothing but a float's precision."""
        box = self.boxes[key]
        if isinstance(value, Mapping) and not self.keyed:
            declared = f"observation_space declares {type(box).__name__}{box.shape}, not a Dict"
            raise Mismatch(f"the observation is {described(value)}, but {declared}")
        array = _numbers(key, value, box)
        shape: tuple[int, ...] = () if key in self._scalars else box.shape
        if self._any_scalar and box.shape == (1,) and array.ndim == 0:
            shape = ()
        if array.shape != shape:
            raise Mismatch(
                f"observation {key!r} is {described(array)}, but its space declares shape {shape}"
            )
        with np.errstate(all="ignore"):
            taken = array.astype(box.dtype)
        if not np.issubdtype(box.dtype, np.floating) and not np.array_equal(taken, array):
            first = array[taken != array].ravel()[0]
            raise Mismatch(
                f"observation {key!r} holds {first!s} ({array.dtype}), but its space declares "
                f"{box.dtype}: whole numbers from {box.low.min()} to {box.high.max()}"
            )
        return taken.reshape(box.shape)


def read_reset(returned: Any) -> tuple[Any, Mapping[Any, Any]]:
    """Observation and info that `reset` returned."""
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping):
        return returned
    if isinstance(returned, tuple) and len(returned) == 2:
        raise Mismatch(f"reset returned an info that is {described(returned[1])}, not a dict")
    raise Mismatch(
        f"reset returned {_amount(returned)}; it must return (observation, info), as in "
        "Gymnasium 0.26 and later"
    )


def not_a_step(returned: Any) -> Mismatch:
    """Says why this is not what `step` must return."""
    old = ", as before Gymnasium 0.26" if isinstance(returned, tuple) and len(returned) == 4 else ""
    return Mismatch(
        f"step returned {_amount(returned)}{old}; it must return ({', '.join(STEP_VALUES)})"
    )


def number(name: str, value: Any) -> float:
    """A number that is finite in float32: Python's, NumPy's, or an array of one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if not isinstance(value, int | float | np.number | np.bool_) or np.iscomplexobj(value):
        raise Mismatch(f"{name} is {described(value)}; it must be one finite number")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not abs(found) <= FLOAT32_MAX:
        raise Mismatch(f"{name} is {found}; it must be a finite number")
    return found


def flag(name: str, value: Any) -> bool:
    """A boolean: Python's, NumPy's, an array of one, or 0 or 1."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, np.ndarray) and value.size == 1:
        return flag(name, value.flat[0])
    if isinstance(value, int | np.integer) and value in (0, 1):
        return bool(value)
    raise Mismatch(f"{name} is {described(value)}; it must be True or False")


def mapping(info: Any) -> Mapping[Any, Any]:
    """An info that is a mapping."""
    if isinstance(info, Mapping):
        return info
    raise Mismatch(f"step returned an info that is {described(info)}, not a dict")


def attempt(info: Mapping[Any, Any]) -> Attempt:
    """The attempt that ended, of an info with `attempt_return`."""
    success = info.get("success")
    return Attempt(
        int(number("info['attempt']", info.get("attempt", 0))),
        number("info['attempt_return']", info["attempt_return"]),
        None if success is None else number("info['success']", success),
    )


def task_label(task: Any) -> str | None:
    """A label that can be printed and stored, of what an info calls its task; None if it is none.

    Characters that cannot be printed are escaped. Only text and whole numbers are labels.
    """
    if isinstance(task, int | np.integer):
        return str(task)
    if not isinstance(task, str):
        return None
    return plain(task)


def described(value: Any) -> str:
    """What a value is, in a few words."""
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a dict of {_keys(value)}"
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    if isinstance(value, str | bool | int | float | complex):
        return f"{str(value)[:60]!r} ({type(value).__name__})"
    return f"a {type(value).__name__}"


def _amount(returned: Any) -> str:
    return f"{len(returned)} values" if isinstance(returned, tuple) else described(returned)


def _keys(keys: Any) -> str:
    names = sorted((str(key) for key in keys), key=str)
    shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return shown or "no keys"


def _numbers(key: str, value: Any, box: gym.spaces.Box) -> Array:
    """Real numbers as an array."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a ragged list, say
        array = np.empty((), object)
    if array.dtype.kind not in "biuf":
        what = array.dtype if isinstance(value, np.ndarray) else described(value)
        declared = f"{box.dtype} of shape {box.shape}"
        raise Mismatch(f"observation {key!r} is {what}, but its space declares {declared}")
    return array


def _range(box: gym.spaces.Box) -> tuple[Any, Any] | None:
    """Between what an observation must be: two numbers, or two arrays; None if it always is."""
    dtype: Any = box.dtype
    low: Array = box.low
    high: Array = box.high
    if dtype.kind == "b" or not (box.bounded_below.any() or box.bounded_above.any()):
        return None
    if dtype.kind in "iu":
        kind = np.iinfo(dtype.name)
        if np.all(low == kind.min) and np.all(high == kind.max):
            return None
    if np.all(low == low.flat[0]) and np.all(high == high.flat[0]):
        return float(low.flat[0]), float(high.flat[0])
    return low, high


def _within(values: Array, limits: tuple[Any, Any]) -> bool:
    low, high = limits
    if type(low) is float:
        return bool(low <= values.min() and values.max() <= high)
    return bool(((low <= values) & (values <= high)).all())


def _first(wrong: Array, rows: Array | None) -> tuple[tuple[int, ...], int]:
    """Index of the first true entry of `wrong` (N, ...), and its row among `rows`."""
    at = tuple(np.argwhere(wrong)[0].tolist())
    return at, at[0] if rows is None else int(rows[at[0]])
