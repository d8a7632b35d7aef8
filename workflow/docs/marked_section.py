"""What a command measured, written into a page of the documentation between two marks."""

import os
import platform
from pathlib import Path

from amago2.errors import ConfigError
from amago2.files import write_atomically

END = "<!-- end of measured -->"


def begin(command: str) -> str:
    """The mark after which `command` writes."""
    return f"<!-- measured: from here to the next mark by `{command}` -->"


def around(page: Path, command: str) -> tuple[str, str]:
    """What lies before and after the marks. Raises `ConfigError` if the page lacks them."""
    before, found, rest = page.read_text().partition(begin(command))
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ConfigError(f"{page}: must hold the lines `{begin(command)}` and, below it, `{END}`")
    return before, after


def publish(page: Path, command: str, text: str) -> None:
    """Replace what lies between the two marks. Raises `ConfigError` if the page lacks them."""
    before, after = around(page, command)
    write_atomically(page, f"{before}{begin(command)}\n\n{text}\n\n{END}{after}")


def machine() -> str:
    """Cores and Python, as the beginning of a sentence."""
    from amago2.training.hardware import cpu_name

    return f"{os.cpu_count()} cores ({cpu_name()}), Python {platform.python_version()}"
