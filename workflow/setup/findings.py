"""A line of the doctor's report, and how the doctor asks.

Whatever could hang or crash (simulators, drivers, daemons) is asked in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workflow.setup.environment import PYTHON, ROOT, STAMP, VENV_PARTS, can_make_venv

SECONDS = 60
"""How long one question may take: a simulator imports in at most ten on a busy machine."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. Only what the default job needs and lacks makes it fail."""

    what: str
    found: str
    remedy: str = ""
    needed: bool = False

    @property
    def mark(self) -> str:
        """`ok`; `missing` for what is needed, `absent` for what is not."""
        return ("missing" if self.needed else "absent") if self.remedy else "ok"


def ask(command: list[str], **environment: str) -> tuple[bool, str]:
    """Whether a command succeeds, and what it says: its output, or its last line of complaint."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS,
            cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return False, "not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"no answer ({type(error).__name__})"
    if done.returncode == 0:
        return True, done.stdout.strip()
    if done.returncode < 0:
        return False, f"died of signal {-done.returncode}"
    return False, (done.stderr.strip() or done.stdout.strip() or "failed").splitlines()[-1]


def ask_python(code: str, **environment: str) -> tuple[bool, str]:
    """The same of a few lines of Python in the environment that the jobs run in."""
    return ask([str(interpreter()), "-c", code], **environment)


def interpreter() -> Path:
    """The environment of `make setup`; in a container, the Python that runs this."""
    return PYTHON if PYTHON.exists() else Path(sys.executable)


def set_up() -> str:
    """The remedy for a package: set-up does nothing where it believes to be done."""
    if STAMP.exists():
        return "`rm -rf .venv && make setup`"
    return "`make setup`" if can_make_venv() else f"{VENV_PARTS}, then `make setup`"
