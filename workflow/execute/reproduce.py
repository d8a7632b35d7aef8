"""Make everything of a budget and show how far it is: `make reproduce`.

Runs Snakemake. It may be stopped or killed at any moment; the same command continues from there.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from workflow.config.experiments import Selection
from workflow.container import image as container
from workflow.dag.plan import Dag, plan
from workflow.dvc.add import VersioningError, record_stage
from workflow.estimate import plan_accuracy
from workflow.estimate.plan import forecast
from workflow.execute import snakemake
from workflow.execute.checks import check_checkout, check_devices, check_drawing, check_profile
from workflow.execute.exclusive import ROOT, AlreadyRunning, end_orphans, exclusive
from workflow.execute.progress import Progress, ProgressLine, clock, label

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_LINES = 8
"""Shown of a failed job's log."""
NO_OUTPUT = "(no output; the process was probably killed: out of memory?)"


class Stopped(Exception):
    """A signal asked this process to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


def reproduce(selection: Selection, profile: str = "") -> int:
    """Make a selection, with one of the profiles for Snakemake; returns the exit code.

    Raises `ConfigError` for a mistake in the request and `AlreadyRunning`.
    """
    check_profile(profile)
    container.require(selection.runtime)
    check_checkout(plan(selection))  # finds mistakes before the lock is taken
    with exclusive():
        end_orphans()
        dag = plan(selection)
        if not dag.stale:
            print("nothing to do: every run, table and figure is up to date")
            return _finish(dag)
        if not profile:
            check_devices(dag)
        check_drawing()
        snakemake.unlock()
        planned = None if profile else forecast(dag)
        progress = _begin(dag)
        log = dag.results / ".logs" / time.strftime("snakemake-%Y%m%d-%H%M%S.log")
        print(
            f"{len(progress.runs)} of {progress.total} runs to train, {len(progress.targets)} "
            f"tables, figures and lists to make; log: {log}"
        )
        options = [*snakemake.placement(dag, profile), *snakemake.longest_first(dag)]
        process = snakemake.start(snakemake.command(selection, *options), log)
        with ProgressLine() as line:
            status = snakemake.follow(process, lambda: line.show(progress.line()))
    if status:
        _print_failures(progress, log)
        return 1
    took = time.time() - progress.began
    print(f"all is made, in {clock(took)}")
    if planned:
        print(plan_accuracy.record_comparison(dag.results, planned, took))
    return _finish(dag)


def _begin(dag: Dag) -> Progress:
    """Write the plan, and remove old logs: those that exist at the end are of this session."""
    dag.write()
    for log in [*(run.log for run in dag.pending), *(target.log for target in dag.stale)]:
        log.unlink(missing_ok=True)
    return Progress(dag)


def _finish(dag: Dag) -> int:
    """Keep `dvc status` clean, and say where the results are; returns the exit code."""
    try:
        record_stage()
    except VersioningError as error:
        print(f"dvc.lock is not up to date: {error}")  # nothing else depends on it
    for sentence in dag.left_out:
        print(sentence)
    for name in ("figures", "tables", "report/index.html"):
        if (dag.results / name).exists():
            print(f"{name.split('/')[0]:8} {dag.results / name}")
    return 0


def _print_failures(progress: Progress, log: Path) -> None:
    """Print the end of each failed job's log, or of Snakemake's if no job failed."""
    jobs = [(label(run), run.log) for run in progress.runs if not run.record.is_file()]
    jobs += [
        (f"{target.kind} {target.name}", target.log)
        for target in progress.targets
        if not target.stamp.exists()
    ]
    failed = [(name, path) for name, path in jobs if path.is_file()]
    for name, path in failed or [("snakemake", log)]:
        print(f"\nFAILED: {name} ({path})")
        for line in _last_lines(path) or [NO_OUTPUT]:
            print(f"    {line}")
    print(
        f"\n{progress.finished} of {progress.total} runs are finished. Correct what failed "
        "and give the same command again: it continues from here."
    )


def _last_lines(path: Path) -> Iterable[str]:
    return path.read_text(errors="replace").rstrip().splitlines()[-LOG_LINES:]


def _raise_stopped(signum: int, _frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
    raise Stopped(signum)


def run(selection: Selection, profile: str = "") -> int:
    """`reproduce` in the project's folder, stopped in order by a signal; returns the exit code."""
    os.chdir(ROOT)
    for signum in STOP_SIGNALS:
        signal.signal(signum, _raise_stopped)
    try:
        return reproduce(selection, profile)
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped as stop:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 128 + stop.signum
