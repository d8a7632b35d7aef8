"""Set-up: `python -m workflow.setup install`, `tools`, `lock`, `clean` or `doctor`.

The only command line of this repository that is not part of `python -m workflow`, because it runs
before any package is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workflow.setup import doctor
from workflow.setup.clean import clean
from workflow.setup.environment import BUILDS, PYTHONS, ROOT, VENV_PARTS, can_make_venv
from workflow.setup.install import install
from workflow.setup.locks import dotted, lock
from workflow.setup.tools import install_tools, lock_tools


def check_python() -> None:
    """Stop with a sentence if this Python cannot hold the environment."""
    if sys.version_info[:2] not in PYTHONS:
        found = ".".join(map(str, sys.version_info[:3]))
        known = ", ".join(map(dotted, PYTHONS))
        sys.exit(
            f"set-up: this is Python {found}, but the locked packages are for Python {known}; "
            "install one (Debian 12 and 13, Ubuntu 24.04: apt-get install python3-venv) and name "
            f"it: make setup PYTHON=python{dotted(PYTHONS[0])}"
        )
    if not can_make_venv():
        sys.exit(
            "set-up: this Python cannot make environments, as its venv parts are missing; "
            f"on Debian and Ubuntu: {VENV_PARTS}"
        )


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one set-up at a time work on this checkout; a second one waits for the first."""
    with (ROOT / "pyproject.toml").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def parser() -> argparse.ArgumentParser:
    """The five commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m workflow.setup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="bring .venv to what the locks say")
    installing.add_argument("--torch", choices=list(BUILDS))
    commands.add_parser("tools", help="bring .venv-tools to what its lock says")
    locking = commands.add_parser("lock", help="make the locks anew")
    locking.add_argument("--upgrade", action="store_true", help="take the newest versions")
    cleaning = commands.add_parser("clean", help="remove what can be made again; no results")
    cleaning.add_argument("--all", action="store_true", help="remove .venv too")
    commands.add_parser("doctor", help="report what this machine has and lacks, with remedies")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 if the doctor finds that something is missing."""
    chosen = parser().parse_args(arguments)
    if chosen.command == "doctor":
        return doctor.main()
    if chosen.command == "clean":
        clean(chosen.all)
        return 0
    check_python()
    try:
        with one_at_a_time():
            if chosen.command == "install":
                install(chosen.torch)
            elif chosen.command == "tools":
                install_tools()
            else:
                lock(chosen.upgrade)
                lock_tools(chosen.upgrade)
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the same command begins anew and keeps what it downloaded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
