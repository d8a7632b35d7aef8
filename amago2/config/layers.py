"""Partial configurations laid over each other, and sentences for what is wrong with them."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from amago2.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)
_ABSENT = object()


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Layer:
    """A partial configuration and the name of its source, for error messages."""

    source: str
    data: Mapping[str, Any]


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, refusing a key given twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"key {twice[0]} is given twice in one mapping; keep one of them")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises `ConfigError` if it is missing, empty, not YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        data = yaml.load(text, _UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from None
    if not data:
        raise ConfigError(f"{path}: is empty; it must hold a mapping of keys to values")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: must hold a mapping of keys to values, not a {type(data).__name__}"
        )
    return data


def parse_override(text: str) -> Layer:
    """Turn `learner.learning_rate=3e-4` into a layer; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set {text}: must look like section.key=value")
    try:
        data: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text}: the value is not valid YAML") from None
    return Layer(f"--set {text}", override(key, data))


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


def validate(model: type[_Model], data: Mapping[str, Any], layers: Sequence[Layer]) -> _Model:
    """Validate `data` as `model`; a `ConfigError` names the layer that set the wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [dict(item) for item in error.errors()]
    # A misspelt key is one mistake, not an unknown key and a missing one.
    unknown = [item for item in found if item["type"] == "extra_forbidden"]
    lines = [_sentence(model, item, data, layers) for item in unknown or found]
    raise ConfigError("\n".join(dict.fromkeys(lines)))


def _sentence(
    model: type[BaseModel], item: dict[str, Any], data: Mapping[str, Any], layers: Sequence[Layer]
) -> str:
    keys = _data_keys(item["loc"], data)
    source, name = _source(keys, layers), ".".join(keys)
    if item["type"] == "extra_forbidden":
        allowed = _allowed(model, item["loc"][:-1])
        near = _nearest(keys[-1], allowed)
        hint = f"did you mean {near}?" if near else f"allowed are {', '.join(allowed)}"
        return f"{source}: unknown key {name}; {hint}"
    if item["type"] == "missing":
        return f"{source}: key {name} is missing and has no default"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = (message[0].lower() + message[1:]).replace("input should", "must")
    subject = (
        f"{name} is {item['input']!r}: " if name and not isinstance(item["input"], dict) else ""
    )
    return f"{source}: {subject or (name + ': ' if name else '')}{message}"


def _nearest(key: str, allowed: Sequence[str]) -> str | None:
    """The allowed name that `key` resembles, as a whole or in one of its words."""
    names = {word: name for name in allowed for word in name.split("_")} | {n: n for n in allowed}
    for choices in (allowed, names):
        if near := difflib.get_close_matches(key, choices, n=1):
            return names[near[0]]
    return None


def _data_keys(loc: Sequence[int | str], data: Any) -> list[str]:
    """The location as keys of the data: without the tags that pydantic adds for unions."""
    keys: list[str] = []
    for position, part in enumerate(loc):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if not (isinstance(data, Mapping) and position == len(loc) - 1):
                continue
        keys.append(str(part))
    return keys


def _source(keys: Sequence[str], layers: Sequence[Layer]) -> str:
    """The last layer that sets the key or, failing that, the nearest section above it."""
    for depth in range(len(keys), 0, -1):
        for layer in reversed(layers):
            value: Any = layer.data
            for key in keys[:depth]:
                value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
            if value is not _ABSENT:
                return layer.source
    return layers[0].source if layers else "configuration"


def _allowed(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Names of the fields of the section at `loc`, where a union is followed by its tag."""
    inner: Any = model
    for part in loc:
        choices = [get_args(choice)[0] for choice in get_args(inner)]
        if choices:
            inner = next(m for m in choices if part in get_args(m.model_fields["kind"].annotation))
        else:
            inner = inner.model_fields[part].annotation
    return list(inner.model_fields)
