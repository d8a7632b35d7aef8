"""The listing of a folder that DVC keeps: the name and the MD5 of each of its files.

A listing comes from a remote. DVC believes it: a name such as `../../x` is a path to write to, and
so is an MD5 that has slashes. So we read it first, and DVC gets it only if it names the very files
that the run's record names.
"""

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError, RunError
from amago2.files import open_regular

MAX_BYTES = 64 * 2**20
MD5 = re.compile(r"[0-9a-f]{32}")


def read_bytes(path: Path) -> bytes:
    """The content of a listing, of bounded size. Raises `ConfigError` or `OSError`."""
    with open_regular(path, MAX_BYTES) as file:
        return file.read(MAX_BYTES)


def is_named(content: bytes, name: str) -> bool:
    """Is `name` the name that DVC gives to a listing of this content?"""
    return name == hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def files(content: bytes) -> dict[str, str]:
    """MD5 of each file by name. Raises `RunError`, which says what is wrong."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        raise RunError("is not JSON") from None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise RunError("does not give a name and an MD5 for each file, and nothing else")
    found = {entry["relpath"]: entry["md5"] for entry in entries}
    if len(found) < len(entries):
        raise RunError("names a file twice")
    return found


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"relpath", "md5"}
        and all(isinstance(value, str) for value in entry.values())
        and bool(MD5.fullmatch(entry["md5"]))
    )


def check(content: bytes, expected: Collection[str]) -> None:
    """Raise `RunError` unless the listing names the expected files and no other."""
    found = files(content)
    if others := sorted(found.keys() - set(expected)):
        raise RunError(f"names {others[0]!r}, which is no file of the run by its record")
    if missing := sorted(set(expected) - found.keys()):
        raise RunError(f"lacks {missing[0]}, which the run's record names")


def objects(path: Path) -> list[str]:
    """MD5 of the files that a listing names; none if it cannot be read."""
    try:
        return list(files(read_bytes(path)).values())
    except (OSError, ConfigError, RunError):
        return []
