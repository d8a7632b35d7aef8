"""What the checkout and its surroundings must allow before anything is trained.

A git repository that git reads and DVC can keep pointers in, folders that can be written, a folder
for caches. The doctor asks all of it, and so does every command that trains.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from workflow.setup.environment import ROOT
from workflow.setup.findings import Finding

ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables of a git hook that would have git look at another repository."""
POINTER = "results/budget/runs/benchmark/variant/seed0/checkpoint.dvc"
"""A file that git has to keep, as DVC insists."""
INSTALL_GIT = "install git (Debian: apt-get install git)"
CLONE = "work in a clone of the repository, or make this folder one: `git init`, then commit all"
MAY_BE_LINKS = (".scratch", ".logs", ".snakemake")
"""Folders that neither git nor DVC looks into."""
PARTS = ("runs", "tables/data", "figures", "report", "provenance", ".scratch", ".logs")
"""Of a budget's results."""


def run_git(*arguments: str) -> tuple[bool, str]:
    """Whether git succeeds in this checkout, and its output or its complaint, in English."""
    env = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**env, "LC_ALL": "C"})
    except OSError:
        return False, "not installed"
    return done.returncode == 0, (done.stderr if done.returncode else done.stdout).strip()


def git() -> Finding:
    """A repository with a commit, which every run's record names; perhaps around this folder."""
    ok, answer = run_git("rev-parse", "--short", "--verify", "HEAD")
    if ok:
        return Finding("git", f"commit {answer}", needed=True)
    found, remedy = answer.partition("\n")[0].removeprefix("fatal: "), CLONE
    if answer == "not installed":
        remedy = INSTALL_GIT
    elif "dubious ownership" in answer:
        found = "git refuses this folder, as it belongs to another user"
        remedy = f"`git config --global --add safe.directory {ROOT}`, or chown it"
    elif "single revision" in answer:
        found, remedy = "the repository has no commit yet", "`git add . && git commit`"
    return Finding("git", found, remedy, needed=True)


def pointers() -> Finding:
    """Whether git and DVC keep the pointers to checkpoints and replays."""
    what = "DVC"
    if not (ROOT / ".dvc" / "config").is_file():
        remedy = "`git checkout .dvc`, or `dvc init` (`--subdir` within a larger repository)"
        return Finding(what, "there is no .dvc/config in this folder", remedy, needed=True)
    _, answer = run_git("check-ignore", "--verbose", "--no-index", POINTER)
    rule = re.match(r"(?P<source>.*?):(?P<line>\d+):(?P<pattern>[^!].*)\t", answer)
    if not rule:
        return Finding(what, "its pointers are kept by git", needed=True)
    found = "git ignores its pointers in results: {pattern} in line {line} of {source}"
    remedy = "narrow that pattern, or add an exception such as `!*.dvc` below it"
    return Finding(what, found.format(**rule.groupdict()), remedy, needed=True)


def cache() -> Finding:
    """The folder for caches, without which Snakemake does not start."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding("cache folder", str(folder), needed=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home folder
        remedy = "set HOME or XDG_CACHE_HOME to a folder that can be written"
        found = f"{folder} cannot be written ({getattr(error, 'strerror', error)})"
        return Finding("cache folder", found, remedy, needed=True)


def folders(wanted: Iterable[Path] | None = None) -> Finding:
    """Whether folders of the checkout can be made or written, and are no links where git looks.

    `wanted` are relative to the checkout; by default, those of every budget.
    """
    what = "folders"
    for path in _with_parents(_existing() if wanted is None else wanted):
        place = ROOT / path
        if place.is_symlink() and not set(path.parts) & set(MAY_BE_LINKS):
            found = f"{path} is a link, and neither git nor DVC keeps what lies behind one"
            remedy = "move the whole checkout to the other disk, or mount that disk here"
            return Finding(what, found, remedy, needed=True)
        if not place.is_dir() and (place.exists() or place.is_symlink()):
            found = f"{path} is {'a dangling link' if place.is_symlink() else 'no folder'}"
            return Finding(what, found, "move it away, or remove it", needed=True)
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            found = f"{path if path.parts else ROOT} cannot be written"
            return Finding(what, found, "change its mode, owner or mount, or use a copy", True)
    return Finding(what, "can be written", needed=True)


def _existing() -> Iterator[Path]:
    """Those of every budget that has results, and of its runs."""
    results = Path("results")
    yield from (Path(".snakemake"), results)
    for budget in sorted((ROOT / results).glob("*")):
        if budget.is_dir() or budget.is_symlink():
            yield from (results / budget.name / part for part in PARTS)
            runs = [*budget.glob("runs/*"), *budget.glob("runs/*/*")]
            yield from (path.relative_to(ROOT) for path in runs)


def _with_parents(paths: Iterable[Path]) -> list[Path]:
    """The paths and all their parents, outer ones first; the checkout itself is `.`."""
    return sorted({each for path in paths for each in (path, *path.parents)})
