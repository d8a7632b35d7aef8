"""Checks of what a checkpoint holds: anybody may have written it, so nothing in it is believed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from amago2.errors import ConfigError, RunError, first_mistake
from amago2.files import open_regular
from amago2.run_record import Digests, Sha256

MAX_JSON_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 16 * 2**20
"""Of a safetensors file: the names and places of its tensors."""
MAX_ELEMENTS = 2**28
"""Of one observation."""
MAX_COUNT = 2**53

Natural = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bounds = list[Annotated[float, Field(allow_inf_nan=False)]] | None


class CheckpointError(RunError):
    """A checkpoint is missing, damaged or of another schema. Its text is a clear sentence."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


def _numeric(name: str) -> str:
    try:
        numeric = np.dtype(name).kind in "biuf"
    except TypeError:
        numeric = False
    if not numeric:
        raise ValueError("is no type of numbers")
    return name


NumberType = Annotated[str, AfterValidator(_numeric)]


class _Box(_Strict):
    shape: list[Natural]
    dtype: NumberType
    low: Bounds = None
    high: Bounds = None
    """Of each channel, if they are known."""

    @field_validator("shape")
    @classmethod
    def _bounded(cls, shape: list[int]) -> list[int]:
        if math.prod(shape) > MAX_ELEMENTS:
            raise ValueError(f"has more than {MAX_ELEMENTS:,} elements")
        return shape

    @model_validator(mode="after")
    def _of_channels(self) -> Self:
        for bounds in (self.low, self.high):
            if bounds is not None and [len(bounds)] != self.shape[2:]:
                raise ValueError("low and high must have a number for each channel")
        return self


class _Actions(_Strict):
    kind: Literal["discrete", "continuous", "multibinary", "product"]
    size: Annotated[int, Field(gt=0, lt=2**15)]
    low: Bounds
    high: Bounds
    dtype: NumberType = "float32"
    start: Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)] = 0
    shape: Annotated[list[Natural], Field(max_length=32)] | None = None
    keys: list[str] | None = None
    parts: list["_Actions"] = []

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        for bounds in (self.low, self.high):
            if (0 if bounds is None else len(bounds)) != self.size * (self.kind == "continuous"):
                raise ValueError(f"low and high do not fit {self.size} {self.kind} actions")
        return self


class _Spaces(_Strict):
    observations: Annotated[dict[str, _Box], Field(min_length=1)]
    actions: _Actions


class LogState(_Strict):
    """The first `length` bytes of a log, and their SHA-256."""

    length: Natural
    sha256: Sha256


class State(_Strict):
    """What `state.json` of every checkpoint says; it says more, which the trainer checks."""

    spaces: _Spaces
    epoch: Natural
    updates: Natural


class UnfinishedState(State):
    """What `state.json` of an unfinished run's checkpoint says besides."""

    started: Annotated[str, Field(max_length=40, pattern=r"^[0-9T:+-]+$")]
    resumptions: Natural
    dropped_rollouts: Natural
    exact: bool
    wall_s: Seconds
    cpu_s: Seconds
    logs: dict[str, LogState]


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `CheckpointError`."""
    try:
        with open_regular(path, MAX_JSON_BYTES) as file:
            content = json.loads(file.read())
    except (OSError, ConfigError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path.parent}: {path.name} is damaged (it is no JSON)") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.parent}: {path.name} is damaged (it is no JSON object)")
    return content


def read_digests(path: Path) -> dict[str, str]:
    """SHA-256 of files by name, from a JSON object. Raises `CheckpointError`."""
    content = read_object(path)
    try:
        return TypeAdapter(Digests).validate_python(content, strict=True)
    except ValidationError:
        raise CheckpointError(
            f"{path.parent}: {path.name} is damaged (no list of SHA-256)"
        ) from None


def check_state(path: Path, state: Mapping[str, Any], model: type[State]) -> None:
    """Raise `CheckpointError` unless what `path` holds is as `model` says."""
    try:
        model.model_validate(state)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_mistake(error)}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, by name. Raises `CheckpointError`."""
    try:
        with open_regular(path) as file:
            header = int.from_bytes(file.read(8), "little")
        if header > MAX_HEADER_BYTES:
            raise CheckpointError(f"{path}: cannot be read: its header claims {header:,} bytes")
        return load_file(path)
    except (SafetensorError, ConfigError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def check_tensors(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` unless `found`, from `path`, has these shapes and types by name.

    It may have more.
    """
    for name, tensor in wanted.items():
        if name not in found:
            raise CheckpointError(f"{path}: {name} is missing: it does not fit its configuration")
        other = found[name]
        if (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
            raise CheckpointError(
                f"{path}: {name} does not fit its configuration: it is {_described(other)}, not "
                f"{_described(tensor)}"
            )


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def check_values(path: Path, found: Any, wanted: Any, key: str = "") -> None:
    """Raise `CheckpointError` unless JSON values have the keys, lengths and types of `wanted`.

    Integers must be counts, numbers finite.
    """
    right = type(found) is type(wanted)
    if right and isinstance(wanted, dict):
        right = found.keys() == wanted.keys()
        pairs = [(f"{key}.{name}".strip("."), found.get(name), wanted[name]) for name in wanted]
    elif right and isinstance(wanted, list):
        right = len(found) == len(wanted)
        pairs = [(key, *pair) for pair in zip(found, wanted, strict=False)]
    else:
        pairs = []
        if right and isinstance(wanted, int):
            right = 0 <= found <= MAX_COUNT
        elif right and isinstance(wanted, float):
            right = math.isfinite(found)
    if not right:
        raise CheckpointError(f"{path}: {key}: is not what a run of this configuration stores")
    for name, one, other in pairs:
        check_values(path, one, other, name)
