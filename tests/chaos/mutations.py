"""Ways in which a stranger may change a file: its bytes, the values in it, or what it is."""

import csv
import io
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, "", "nan", "-1", "\0", "\x1b]0;x\x07", "<script>alert(1)</script>", "../../../x",
    "/dev/zero", "a" * 5000, "\u202e", "=1+1", "$\\frac", -1, 0, 2**64, 10**400, 1e308, [], {},
    [[]], {"": {}}, "[/b]", "x\ny", "1" * 5000,
)  # fmt: skip
"""Values of other types and sizes than anything expects."""
DEEP = 100_000
HUGE = 2**29
"""Bytes, none of which are on the disk."""


def change(path: Path, chance: random.Random) -> str:
    """Change a file in one of these ways; returns which."""
    ways: list[Callable[[Path, random.Random], None]] = [_bytes, _bytes, _cut, _repeat, _special]
    ways += {".json": [_json] * 6, ".csv": [_csv] * 6}.get(path.suffix, [])
    way = chance.choice(ways)
    way(path, chance)
    return way.__name__.strip("_")


def _bytes(path: Path, chance: random.Random) -> None:
    """Some bytes are others."""
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 10, 1000])):
        if content:
            content[chance.randrange(len(content))] = chance.choice([0, 34, 44, 10, 255, 91, 45])
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def _repeat(path: Path, chance: random.Random) -> None:
    """Nothing but one thing, again and again."""
    text = chance.choice(["[", '{"a":', "\0", ",", '"', "\n", "- ", "&a [*a", "é"])
    path.write_text(text * chance.choice([1, 50, DEEP]))


def _special(path: Path, chance: random.Random) -> None:
    """Something that is no file, or a link to something."""
    path.unlink()
    kind = chance.choice(["pipe", "folder", "socket", "loop", "zero", "nowhere", "huge", "gone"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket has at most 107 bytes
            server.bind(path.name)
            os.chdir(here)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(HUGE)
    elif kind != "gone":
        targets = {"loop": path.name, "zero": "/dev/zero", "nowhere": "/nowhere/at/all"}
        path.symlink_to(targets[kind])


def _json(path: Path, chance: random.Random) -> None:
    """A value, or a key, is an odd one."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(_with_odd(content, chance)))


def _with_odd(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        if chance.random() < 0.2:
            return {str(chance.choice(ODD)) if k == key else k: v for k, v in value.items()}
        if chance.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _with_odd(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], _with_odd(value[place], chance), *value[place + 1 :]]
    return chance.choice(ODD)


def _csv(path: Path, chance: random.Random) -> None:
    """A field, a line or a whole column is another."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    odd, column = str(chance.choice(ODD)), chance.randrange(len(rows[0]))
    row = chance.randrange(len(rows))
    how = chance.choice(["field", "field", "line", "column", "head"])
    if how == "line":
        rows[row] = [odd]
    elif how == "head":
        rows[0][column] = odd
    for line in rows[1:] if how == "column" else rows[row : row + 1] if how == "field" else []:
        line[column] = odd
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_bytes(buffer.getvalue().encode("utf-8", "surrogateescape"))
