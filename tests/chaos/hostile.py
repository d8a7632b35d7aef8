"""Finished runs with hostile content, read by every command that reads one."""

import hashlib
import os
import resource
from collections.abc import Callable
from pathlib import Path

from tests.chaos import toy_runs
from tests.chaos.children import Ended, run
from tests.chaos.damage import LONGER
from tests.chaos.plant_list import PLANTS
from tests.chaos.plants import seal
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, sentence

LIMIT_S = 60.0
MEMORY = 4 * 2**30
"""Address space that a reader may take besides what it has when it starts."""
LARGEST_FILE = 2**30


def _bounded() -> None:
    """A reader that takes memory or disk without bound is ended by the system."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


def _read(work: Path, *words: str) -> Ended:
    return run(words, work, LIMIT_S, before=_bounded)


READERS: dict[str, Callable[[Path], Ended]] = {
    "info": lambda work: _read(work, "info", "run"),
    "evaluate": lambda work: _read(work, "evaluate", "run", *toy_runs.ALLOWED, "--rollouts", "1"),
    "go-on": lambda work: _read(
        work, "train", toy_runs.CONFIG, *LONGER, "--from", "run", "--out", "longer"
    ),
    "again": lambda work: _read(work, "train", toy_runs.CONFIG, "--out", "run"),
    "play": lambda work: _read(work, "play", "run", *toy_runs.ALLOWED, "--video", "x.gif"),
}
COUNT = max(2 * len(PLANTS), 200)


def _attack(trial: Trial) -> Outcome:
    """One plant, one reader."""
    turn, number = divmod(trial.number, len(PLANTS))
    plant = PLANTS[number]
    reader = list(READERS)[(number + turn) % len(READERS)]
    work, outside = trial.folder / "work", trial.folder / "outside"
    _fill(outside)
    before = _digest(outside)
    toy_runs.write_config(work)
    toy_runs.copy(trial.prepared / "plain" / toy_runs.RUN, work / toy_runs.RUN)
    plant.change(work / toy_runs.RUN, outside)
    try:
        _seal_if_possible(work / toy_runs.RUN, plant.sealed)
        ended = READERS[reader](work)
        _check_outside(trial.folder, outside, before)
        check_manners(ended)
        if not ended.code:
            return Outcome.RESULT
        if "MemoryError" in ended.errors or "Cannot allocate memory" in ended.errors:
            raise Wrong(Failure.HANG, "it takes memory without bound")
        sentence(ended)
    except Wrong as error:
        raise Wrong(error.failure, f"{plant.name}, {reader}: {error.what}") from None
    return Outcome.SENTENCE


def _seal_if_possible(run_folder: Path, sealed: bool) -> None:
    """Some content cannot be sealed, such as that of a record which is no mapping."""
    if sealed:
        try:
            seal(run_folder)
        except (ValueError, TypeError, AttributeError, RecursionError):
            return


def _fill(outside: Path) -> None:
    """Files that nobody may touch."""
    (outside / "folder").mkdir(parents=True)
    (outside / "secret").write_text("nobody else's business\n")
    (outside / "folder" / "thesis.tex").write_text("the only copy\n")


def _digest(folder: Path) -> str:
    """Of names, modes, sizes, times of change and content of all below a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        facts = (path.relative_to(folder), status.st_mode, status.st_mtime_ns, content)
        total.update(repr(facts).encode())
    return total.hexdigest()


def _check_outside(folder: Path, outside: Path, before: str) -> None:
    if (outside / "EXECUTED").exists():
        raise Wrong(Failure.OUTSIDE, "the file's code was run")
    if _digest(outside) != before:
        raise Wrong(Failure.OUTSIDE, "a file outside the run was touched")
    beside = {path.name for path in folder.iterdir()} - {"work", "work.logs", "outside"}
    if beside:
        raise Wrong(Failure.OUTSIDE, f"{sorted(beside)[0]} was made outside the run")


KINDS = (
    Kind(
        "hostile",
        "Hostile file in a run from somebody else",
        count=COUNT,
        short=4,
        trial=_attack,
        prepare=(toy_runs.prepare,),
    ),
)
