"""Make everything of a budget and show how far it is: `make reproduce`.

Runs Snakemake. It may be stopped or killed at any moment; the same command continues from there.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from amago2.printing import say, warn
from workflow.config.experiments import Selection
from workflow.container import image as container
from workflow.dag.plan import Dag, plan
from workflow.dvc.add import VersioningError, record_stage
from workflow.estimate import plan_accuracy
from workflow.estimate.plan import forecast
from workflow.execute import failures, snakemake
from workflow.execute.checks import (
    check_checkout,
    check_devices,
    check_drawing,
    check_profile,
    check_runs,
)
from workflow.execute.exclusive import ROOT, AlreadyRunning, end_orphans, exclusive
from workflow.execute.progress import Progress, ProgressLine, clock, label
from workflow.execute.room import check_disk, check_memory
from workflow.execute.snakemake import Stopped

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def reproduce(selection: Selection, profile: str = "") -> int:
    """Make a selection, with one of the profiles for Snakemake; returns the exit code.

    Raises `ConfigError` for a mistake in the request, `RunError` for damaged runs and
    `AlreadyRunning`.
    """
    check_profile(profile)
    container.require(selection.runtime)
    check_checkout(plan(selection))  # finds mistakes before the lock is taken
    with exclusive():
        end_orphans()
        dag = plan(selection)
        check_runs(dag)
        if not dag.stale:
            print("nothing to do: every run, table and figure is up to date")
            return _finish(dag)
        if not profile:
            check_devices(dag)
            check_memory(dag)
        check_disk(dag)
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
        memory_kills = failures.out_of_memory()
        process = snakemake.start(snakemake.command(selection, *options), log)
        with ProgressLine() as line:
            status = snakemake.follow(process, lambda: line.show(progress.line()), not profile)
    if status:
        if status < 0:
            end_orphans()
        _print_failures(progress, log, status, failures.out_of_memory() > memory_kills)
        return 1
    took = time.time() - progress.began
    print(f"all is made, in {clock(took)}")
    if planned:
        print(plan_accuracy.record_comparison(dag.results, planned, took))
    return _finish(dag)


def _begin(dag: Dag) -> Progress:
    """Write the plan, and remove old logs: those that exist at the end are of this session."""
    dag.write()
    logs = [*(run.log for run in dag.pending), *(target.log for target in dag.stale)]
    for log in [*logs, dag.results / ".logs" / "image.log"]:
        log.unlink(missing_ok=True)
    return Progress(dag)


def _finish(dag: Dag) -> int:
    """Keep `dvc status` clean, and say where the results are; returns the exit code."""
    try:
        record_stage()
    except VersioningError as error:
        say(f"dvc.lock is not up to date: {error}")  # nothing else depends on it
    for sentence in dag.left_out:
        print(sentence)
    for name in ("figures", "tables", "report/index.html"):
        if (dag.results / name).exists():
            print(f"{name.split('/')[0]:8} {dag.results / name}")
    return 0


def _print_failures(progress: Progress, log: Path, status: int, killed_for_memory: bool) -> None:
    """Print what each failed job said, or what Snakemake did if no job failed."""
    found = {
        f"{name} ({path})": failures.last_words(path, killed_for_memory)
        for name, path in _failed(progress, log, status)
    }
    if status < 0:
        killer = failures.signal_name(-status)
        found[f"snakemake ({log})"] = [f"killed by {killer}; its jobs were ended too"]
    for name, lines in (found or {f"snakemake ({log})": failures.last_words(log)}).items():
        say(f"\nFAILED: {name}")
        for line in lines:
            say(f"    {line}")
    print(
        f"\n{progress.finished} of {progress.total} runs are finished. Correct what failed "
        "and give the same command again: it continues from here."
    )


def _failed(progress: Progress, log: Path, status: int) -> list[tuple[str, Path]]:
    """Names and logs of jobs that failed: those that say so, else those that made nothing."""
    jobs = [(label(run), run.log) for run in progress.runs if not run.record.is_file()]
    jobs += [
        (f"{target.kind} {target.name}", target.log)
        for target in progress.targets
        if not target.stamp.exists()
    ]
    jobs = [(name, path) for name, path in [*jobs, ("image", log.with_name("image.log"))]
            if path.is_file()]  # fmt: skip
    failed = [(name, path) for name, path in jobs if failures.exit_code(path)]
    return failed or (jobs if status > 0 else [])


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
        warn(str(error))
        return 2
    except Stopped as stop:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 128 + stop.signum
