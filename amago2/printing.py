"""What is printed: foreign text literally, whatever characters are in it and the terminal shows.

Names of tasks, paths and recorded values come from environments, users and files of strangers.
"""

import io
import sys
from collections.abc import Iterable
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = max(120, Console().width)
"""Wide enough for the longest task names and digests."""


def plain(text: object) -> str:
    r"""Text whose control characters, and all others that show nothing, are escapes such as `\x1b`.

    Half of a surrogate pair, which no file can hold, is one of them.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def say(text: str, file: TextIO | None = None) -> None:
    """Print lines, each of them `plain`, to standard output or another file."""
    print("\n".join(plain(line) for line in text.split("\n")), file=file)


def warn(text: str) -> None:
    """The same to standard error."""
    say(text, sys.stderr)


def show(rows: Iterable[Iterable[object]], columns: tuple[str, ...] = ()) -> None:
    """Print a table; without names of columns it has no header and no lines."""
    table = Table(*columns, show_header=bool(columns), box=box.HEAVY_HEAD if columns else None)
    for row in rows:
        table.add_row(*(Text(plain(cell), overflow="fold") for cell in row))
    Console(width=WIDTH).print(table)


def escape_what_the_terminal_lacks() -> None:
    """Have characters that the terminal's encoding lacks escaped, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
