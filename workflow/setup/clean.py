"""`make clean` and `make distclean`: remove what this project made and can make again.

A marker in a folder says that it was made here, not the folder's name; no link is followed.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

from workflow.setup import environment
from workflow.setup.environment import say
from workflow.setup.install import check_ours, clear_venv

MARKER = ".made-by-workflow"
"""Name of the file that marks a folder whose whole content is this project's."""
TEXT = "made by this project, whose `make clean` deletes this folder\n"
OURS = ("results/*/.scratch", "results/*/.logs", ".snakemake")
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv-tools", "build/site")
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55"
"""How the file CACHEDIR.TAG of a cache begins (https://bford.info/cachedir)."""
PACKAGES = ("amago2", "envs", "tests", "workflow")


def mark(folder: Path) -> None:
    """Make a folder that `clean` may remove. One that is there already stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / MARKER).write_text(TEXT)


def clean(everything: bool = False) -> None:
    """Remove unfinished runs, logs, caches and bytecode; with `everything`, `.venv` too.

    Stops with a sentence if `make reproduce` is running, or if `.venv` is not set-up's.
    """
    root = environment.ROOT
    if everything:
        check_ours()
    refuse_while_running(root / ".snakemake" / "reproduce.lock")
    for pattern in OURS:
        for folder in sorted(root.glob(pattern)):
            remove(folder, (folder / MARKER).is_file())
    for name in CACHES:
        folder = root / name
        if folder.exists():
            remove(folder, is_cache(folder))
    for package in PACKAGES:
        for folder in sorted((root / package).rglob("__pycache__")):
            remove_bytecode(folder)
    if everything and environment.VENV.exists():
        clear_venv()
        environment.MARKER.unlink()
        environment.VENV.rmdir()


def refuse_while_running(lock: Path) -> None:
    """Stop with a sentence if a reproduction holds its lock."""
    if lock.is_file():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit("clean: `make reproduce` is running here; stop it or wait, then again")


def remove(folder: Path, ours: bool) -> None:
    """Remove a folder, or say why it stays."""
    if folder.is_symlink():
        say(f"{folder} stays: it is a link")
    elif not ours:
        say(f"{folder} stays: nothing in it says that this project made it; delete it yourself")
    else:
        shutil.rmtree(folder)


def is_cache(folder: Path) -> bool:
    """Whether the folder says that it is a cache, which its tool makes again."""
    tag = folder / "CACHEDIR.TAG"
    return tag.is_file() and tag.read_bytes().startswith(CACHE_TAG.encode())


def remove_bytecode(folder: Path) -> None:
    """Remove what Python compiled, and the folder unless it holds something else."""
    if folder.is_symlink():
        return
    for path in folder.glob("*.pyc"):
        path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
