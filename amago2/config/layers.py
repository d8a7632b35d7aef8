"""Partial configurations laid over each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from amago2.config.documents import MAX_DEPTH, parse_yaml, printable
from amago2.errors import ConfigError


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


@dataclass(frozen=True)
class Layer:
    """A partial configuration and the name of its source, for error messages."""

    source: str
    data: Mapping[str, Any]


def parse_override(text: str) -> Layer:
    """Turn `learner.learning_rate=3e-4` into a layer; the value is read as YAML."""
    key, separator, value = text.partition("=")
    key, source = key.strip(), f"--set {printable(text)}"
    if not separator or not all(key.split(".")):
        raise ConfigError(f"{source}: must look like section.key=value")
    if key.count(".") >= MAX_DEPTH:
        raise ConfigError(f"{source}: the key has more than {MAX_DEPTH} parts")
    return Layer(source, override(key, parse_yaml(value, source)))


def override(key: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` of the key `a.b`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`: mappings merge key by key, everything else is replaced.

    A mapping of another `kind` replaces the old one, whose keys it does not share.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and _same_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))
