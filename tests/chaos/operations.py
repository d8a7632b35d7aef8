"""Kills at file operations, and disks that are full at any of them."""

import errno
from pathlib import Path

from tests.chaos import toy_runs, tracer
from tests.chaos.children import Ended
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, sentence, succeeded

COMMAND = ("train", toy_runs.CONFIG, "--out", toy_runs.RUN)
COUNT = "operations"
"""File that says how many operations an undisturbed run has, in all and those that need room."""
ERRORS = (errno.ENOSPC, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def prepare(folder: Path) -> None:
    """A run undisturbed but counted."""
    work = folder / "counted"
    toy_runs.write_config(work)
    operations: list[tracer.Operation] = []
    room: list[int] = []

    def count(operation: tracer.Operation) -> tracer.Verdict:
        operations.append(operation)
        if operation.grows:
            room.append(operation.number)
        return tracer.Verdict.HAPPENS

    succeeded(tracer.watch(COMMAND, work, count, folder))
    toy_runs.check_same(work / toy_runs.RUN, folder / "plain" / toy_runs.RUN)
    (folder / COUNT).write_text(str(len(operations)))


def place(trial: Trial, count: int) -> int:
    """The operation at which a trial strikes: they are spread over the run, and drawn within."""
    total = int((trial.prepared / COUNT).read_text())
    return int((trial.number + trial.chance.random()) * total / count)


def _killed_at(work: Path, first: int, torn: bool) -> Ended:
    def judge(operation: tracer.Operation) -> tracer.Verdict:
        if operation.number < first:
            return tracer.Verdict.HAPPENS
        half = torn and operation.name in tracer.TORN
        return tracer.Verdict.HALF if half else tracer.Verdict.KILLED

    return tracer.watch(COMMAND, work, judge, work)


def _kill(trial: Trial) -> Outcome:
    """Killed at an operation, perhaps at one of the resumed run too, then resumed."""
    work, chance = trial.folder / "work", trial.chance
    toy_runs.write_config(work)
    _killed_at(work, place(trial, KILLS), chance.random() < 0.5)
    if chance.random() < 0.3:
        _killed_at(work, chance.randrange(60), chance.random() < 0.5)
    return _finish(trial, work)


def _full(trial: Trial) -> Outcome:
    """The disk is full (or broken) from an operation on; with room again, the run goes on."""
    work = trial.folder / "work"
    toy_runs.write_config(work)
    error = trial.chance.choice(ERRORS)
    judge = tracer.full_from(place(trial, FULL), error)
    ended = tracer.watch(COMMAND, work, judge, work)
    _check_told(ended)
    return _finish(trial, work)


def _check_told(ended: Ended) -> None:
    """A full disk is told in one sentence, unless nothing needed to be written any more."""
    if ended.code == 0:
        succeeded(ended)
    else:
        sentence(ended)


def _finish(trial: Trial, work: Path) -> Outcome:
    ended = toy_runs.train(work)
    if ended.code != 0:
        raise Wrong(Failure.LOSS, f"the run is stuck: {(ended.said + ended.errors)[-400:]}")
    toy_runs.check_same(work / toy_runs.RUN, trial.prepared / "plain" / toy_runs.RUN)
    toy_runs.check_whole(work)
    return Outcome.RESULT


KILLS, FULL = 110, 100
KINDS = (
    Kind(
        "kill-operation",
        "Killed at a file operation",
        count=KILLS,
        short=2,
        trial=_kill,
        prepare=(toy_runs.prepare, prepare),
        missing=tracer.missing,
    ),
    Kind(
        "disk-full",
        "Disk full or failing from a file operation on",
        count=FULL,
        short=2,
        trial=_full,
        prepare=(toy_runs.prepare, prepare),
        missing=tracer.missing,
    ),
)
