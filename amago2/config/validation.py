"""Data validated as a model, with sentences that name file, key and what would be right."""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from amago2.config.documents import printable
from amago2.config.fields import NAME, SPLIT
from amago2.config.layers import Layer
from amago2.config.plain import Key, NotPlainError, canonical, plain
from amago2.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)
_ABSENT = object()
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_MAPPING = "must be a mapping of keys to values"
_RIGHT = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": f"{_MAPPING}, {{}} for none",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "invalid_key": "must be text; put it in quotes",
    "model_type": _MAPPING,
    "string_too_short": "must not be empty",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list, such as [1, 2]",
}
"""What would be right, by pydantic's type of error."""
PATTERNS = {
    NAME: "must be at most 50 lower-case letters, digits and _",
    SPLIT: "must be at most 100 characters, without /",
    r"^[A-Za-z0-9_]+$": "must have letters, digits and _ only",
}
"""What would be right, by the pattern that a text does not match."""


def validate(model: type[_Model], data: Mapping[str, Any], layers: Sequence[Layer]) -> _Model:
    """Validate `data` as `model`; a `ConfigError` names the layer that set the wrong key."""
    try:
        copied = plain(data)
    except NotPlainError as error:
        raise ConfigError(_sentence(error.keys, error.value, str(error), layers)) from None
    try:
        valid = model.model_validate(copied)
    except ValidationError as error:
        found = [dict(item) for item in error.errors(include_url=False)]
    else:
        misread = [
            _sentence(keys, value, "must be a number", layers)
            for keys, value in _truth_values(copied, valid, ())
        ]
        if misread:
            raise ConfigError("\n".join(misread))
        return valid
    # A misspelt key is one mistake, not an unknown key and a missing one.
    unknown = [item for item in found if item["type"] == "extra_forbidden"]
    if unknown:
        lines = [_unknown_key(model, item, copied, layers) for item in unknown]
    else:
        lines = list(_wrong_values(found, copied, layers))
    raise ConfigError("\n".join(dict.fromkeys(lines)))


def shown(value: Any, levels: int = 3) -> str:
    """A value for a sentence, as YAML would have it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list) and levels:
        text = f"[{', '.join(shown(item, levels - 1) for item in value[:9])}]"
        return text if len(text) < 80 and len(value) < 10 else f"{text[:60]}...]"
    return _SHORT.repr(value)


def differences(there: Mapping[str, Any], here: Mapping[str, Any], above: str = "") -> list[str]:
    """Clauses such as `seed is 1 there and 2 here`, one for each key of plain data that differs."""
    found = []
    for key in {**there, **here}:
        name, one, other = f"{above}{printable(str(key))}", there.get(key), here.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{name}.")
        elif (key in there) != (key in here) or canonical(one) != canonical(other):
            texts = [shown(x[key]) if key in x else "left out" for x in (there, here)]
            found.append(f"{name} is {texts[0]} there and {texts[1]} here")
    return found


def nearest(key: str, allowed: Sequence[str]) -> str | None:
    """The allowed name that `key` resembles, as a whole or in one of its words."""
    names = {word: name for name in allowed for word in name.split("_")} | {n: n for n in allowed}
    for choices in (allowed, names):
        if near := difflib.get_close_matches(key, choices, n=1):
            return names[near[0]]
    return None


def _truth_values(data: Any, valid: Any, keys: tuple[Key, ...]) -> Iterator[tuple[Any, bool]]:
    """Keys and values that are true or false in the data and that pydantic took for numbers."""
    if type(data) is bool and type(valid) in (int, float):
        yield keys, data
    elif isinstance(data, dict):
        inner = vars(valid) if isinstance(valid, BaseModel) else valid
        for key in data.keys() & inner.keys() if isinstance(inner, dict) else ():
            yield from _truth_values(data[key], inner[key], (*keys, key))
    elif isinstance(data, list) and isinstance(valid, tuple):
        for i, pair in enumerate(zip(data, valid, strict=False)):
            yield from _truth_values(*pair, (*keys, i))


def _sentence(keys: Sequence[Key], value: Any, right: str, layers: Sequence[Layer]) -> str:
    name = dotted(keys)
    if name and not isinstance(value, Mapping):
        return f"{_source(keys, layers)}: {name} is {shown(value)}: {right}"
    return f"{_source(keys, layers)}: {f'{name}: ' if name else ''}{right}"


def dotted(keys: Sequence[Key]) -> str:
    """Keys as one name; what a terminal could not show is escaped."""
    return ".".join(printable(str(key)) for key in keys)


def _unknown_key(
    model: type[BaseModel], item: dict[str, Any], data: Any, layers: Sequence[Layer]
) -> str:
    keys = _data_keys(item, data)
    allowed = _allowed(model, item["loc"][:-1]) or []
    hint = f"allowed are {', '.join(allowed)}"
    if near := nearest(str(keys[-1]), allowed):
        hint = f"did you mean {near}?"
    elif section := next((s for s in _sections(model) if s.endswith(f".{keys[-1]}")), None):
        hint = f"did you mean {section}?"
    return f"{_source(keys, layers)}: unknown key {dotted(keys)}; {hint}"


def _wrong_values(
    found: Sequence[dict[str, Any]], data: Any, layers: Sequence[Layer]
) -> Iterator[str]:
    """One sentence for each key, whatever kinds of value are allowed there."""
    mistakes: dict[tuple[Key, ...], list[str]] = {}
    last: dict[tuple[Key, ...], dict[str, Any]] = {}
    for item in found:
        keys, right = _right(item, data)
        mistakes.setdefault(keys, []).append(right)
        last[keys] = item
    for keys, rights in mistakes.items():
        if any(other[: len(keys)] == keys for other in mistakes if other != keys):
            continue  # Of a union: what is wrong is the value inside.
        first, *others = dict.fromkeys(rights)
        right = " or ".join([first, *(o.removeprefix("must ").removeprefix("be ") for o in others)])
        if last[keys]["type"] == "missing":
            yield f"{_source(keys[:-1], layers)}: key {dotted(keys)} is missing and has no default"
        elif last[keys]["loc"][-1:] == ("[key]",) or last[keys]["type"] == "invalid_key":
            yield f"{_source(keys, layers)}: key {dotted(keys)} {right}"
        else:
            yield _sentence(keys, _at(data, keys), right, layers)


def _right(item: dict[str, Any], data: Any) -> tuple[tuple[Key, ...], str]:
    """Of one error: the keys in the data, and what would be right."""
    kind, ctx, keys = item["type"], item.get("ctx", {}), tuple(_data_keys(item, data))
    message = str(item["msg"]).removeprefix("Value error, ")
    right = (message[0].lower() + message[1:]).replace("input should", "must")
    if kind == "missing" and isinstance(item["loc"][-1], int):
        item["type"], keys, right = "too_short", keys[:-1], "must have more values"
    elif kind == "literal_error":
        is_switch = ctx["expected"] == "True"
        right = "must be true or false" if is_switch else _one_of(ctx["expected"], item["input"])
    elif kind == "union_tag_invalid":
        keys = (*keys, "kind")
        right = _one_of(ctx["expected_tags"], ctx["tag"])
    elif kind == "string_pattern_mismatch":
        right = PATTERNS.get(ctx["pattern"], right)
    elif kind == "too_short":
        right = _count("at least", ctx["min_length"])
    elif kind == "too_long":
        right = _count("at most", ctx["max_length"])
    return keys, _RIGHT.get(kind, right)


def _one_of(expected: str, given: Any) -> str:
    near = difflib.get_close_matches(str(given), expected.split("'")[1::2], n=1)
    *first, last = expected.replace(" or ", ", ").split(", ")
    known = f"{', '.join(first)} or {last}" if first else last
    return f"must be {known}" + (f"; did you mean {near[0]}?" if near else "")


def _count(bound: str, count: int) -> str:
    return f"must have {bound} {count} value{'' if count == 1 else 's'}"


def _at(data: Any, keys: Sequence[Key]) -> Any:
    """The value there; an empty mapping, which is not shown, if there is none."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return {}
    return data


def _data_keys(item: Mapping[str, Any], data: Any) -> list[Key]:
    """An error's location as keys of the data: without the tags that pydantic adds for unions."""
    keys: list[Key] = []
    loc = item["loc"]
    for position, part in enumerate(loc):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if not (item["type"] == "missing" and position == len(loc) - 1):
                continue
        keys.append(part)
    return keys


def _source(keys: Sequence[Key], layers: Sequence[Layer]) -> str:
    """The last layer that sets the key or, failing that, the nearest section above it."""
    for depth in range(len(keys), 0, -1):
        for layer in reversed(layers):
            value: Any = layer.data
            for key in keys[:depth]:
                value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
            if value is not _ABSENT:
                return layer.source
    return layers[0].source if layers else "configuration"


def _allowed(annotation: Any, loc: Sequence[Key]) -> list[str] | None:
    """Names of the fields of the section at `loc`, where a union may be followed by its tag."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not loc:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(loc[0]))
        return _allowed(field.annotation, loc[1:]) if field else None
    inside = get_args(annotation)
    if get_origin(annotation) in (tuple, list, dict):
        return _allowed(inside[-1 if get_origin(annotation) is dict else 0], loc[1:])
    choices = [
        _allowed(choice, rest)
        for choice in inside
        for rest in (loc, loc[1:])
        if rest is loc or _has_tag(choice, loc[0])
    ]
    return next((choice for choice in choices if choice is not None), None)


def _has_tag(choice: Any, tag: Key) -> bool:
    return any(isinstance(part, Tag) and part.tag == tag for part in get_args(choice))


def _sections(model: type[BaseModel]) -> Iterator[str]:
    """Keys of the sections of a model, with the section's name."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in inner.model_fields)
