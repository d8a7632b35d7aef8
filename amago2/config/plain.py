"""Plain data: what a configuration may hold, which YAML stores and reads back equal.

Text, whole numbers, finite and infinite numbers, true and false, null, lists of plain data, and
mappings whose keys are text, or whole numbers.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from amago2.config.documents import MAX_DEPTH, MAX_DIGITS

Key = int | str


class NotPlainError(ValueError):
    """A value, at `keys` in the data, that is not plain; the text is what would be right."""

    def __init__(self, message: str, value: Any, keys: tuple[Key, ...] = ()) -> None:
        super().__init__(message)
        self.value, self.keys = value, keys


def plain(data: Any, keys: tuple[Key, ...] = ()) -> Any:
    """A copy of plain data that shares no part with it, or of a model; tuples become lists.

    Raises `NotPlainError`.
    """
    if len(keys) > MAX_DEPTH:
        raise NotPlainError(f"must have at most {MAX_DEPTH} levels", data, keys)
    if isinstance(data, BaseModel):
        data = {name: getattr(data, name) for name in type(data).model_fields}
    if isinstance(data, Mapping):
        _check_keys(data, keys)
        return {key: plain(value, (*keys, key)) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value, (*keys, i)) for i, value in enumerate(data)]
    if problem := _problem(data):
        raise NotPlainError(problem, data, keys)
    return data


def _check_keys(data: Mapping[Any, Any], keys: tuple[Key, ...]) -> None:
    for key in data:
        if type(key) is bool:
            problem = f"a key is {str(key).lower()}, as which YAML reads on, off, yes and no, too"
        elif type(key) not in (int, str) or _problem(key):
            problem = f"a key is {'null' if key is None else repr(key)}"
        elif type(key) is not type(first := next(iter(data))):
            problem = f"keys are {first!r} and {key!r}"
        else:
            continue
        right = "all must be text, in quotes where YAML asks for them, or all whole numbers"
        raise NotPlainError(f"{problem}; {right}", data, keys)


def _problem(value: Any) -> str | None:
    """What is wrong with a single value, as a sentence on what it must be."""
    if value is None or type(value) is bool:
        return None
    if type(value) is int:
        digits = value.bit_length() * math.log10(2)
        return f"must have at most {MAX_DIGITS} digits" if digits > MAX_DIGITS - 2 else None
    if type(value) is float:
        return "must be a number, or null for none" if math.isnan(value) else None
    if type(value) is str:
        surrogate = any("\ud800" <= character <= "\udfff" for character in value)
        return "must be text that UTF-8 can store" if surrogate else None
    return "must be text, a number, true, false, null, a list or a mapping"


def canonical(data: Any) -> str:
    """One text for equal plain data and different ones for others: sorted JSON where that exists.

    JSON has no infinities, and no whole numbers as keys; here, these stand without quotes.
    """
    if isinstance(data, dict):
        items = (f"{canonical(key)}:{canonical(data[key])}" for key in sorted(data))
        return f"{{{_joined(items)}}}"
    if isinstance(data, list):
        return f"[{_joined(map(canonical, data))}]"
    return json.dumps(data)


def _joined(texts: Iterable[str]) -> str:
    return ",".join(texts)
