"""The Snakemake process that makes a budget: its command line, its start and its end."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from amago2.config.documents import read_yaml
from workflow.config.experiments import Selection
from workflow.dag.plan import Dag
from workflow.estimate.training_time import estimated_seconds
from workflow.execute import room
from workflow.execute.exclusive import MARK, ROOT

STOP_TIMEOUT_S = {signal.SIGINT: 30.0, signal.SIGTERM: 240.0}
"""For Snakemake to end its jobs, which end at once, or after the present epoch."""
POLL_S = 1.0
LOCKS = Path(".snakemake") / "locks"


class Stopped(Exception):
    """A signal asked this process to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


def command(selection: Selection, *options: str) -> list[str]:
    """The command line that makes a selection, with further options of Snakemake."""
    config = [f"{key}={value}" for key, value in selection.options().items()]
    return [sys.executable, "-m", "snakemake", "--nocolor", *options, "--config", *config]


def placement(dag: Dag, profile: str) -> list[str]:
    """Options that say where jobs run: a profile, or the room on this machine."""
    return _profile_options(dag, Path("profiles") / profile) if profile else room.limits(dag)


def _profile_options(dag: Dag, folder: Path) -> list[str]:
    options = ["--workflow-profile", str(folder)]
    settings = read_yaml(folder / "config.yaml")
    if settings.get("slurm-array-jobs") and settings.get("jobs", 0) < len(dag.pending):
        # The executor submits an array only when it has been given all of its jobs.
        options += ["--jobs", str(len(dag.pending))]
    return options


def longest_first(dag: Dag) -> list[str]:
    """The option to start with long runs: a long one that starts last leaves other cores idle."""
    seconds = {str(run.record): estimated_seconds(run.config) for run in dag.pending}
    typical = statistics.median(seconds.values()) if seconds else 0
    long = [path for path, estimate in seconds.items() if estimate > 2 * typical]
    return ["--prioritize", *long] if long else []


def unlock() -> None:
    """Remove the lock that a killed Snakemake left; no Snakemake may be running here."""
    if LOCKS.is_dir():
        shutil.rmtree(LOCKS)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start Snakemake in a session of its own: Ctrl-C then reaches it only through `follow`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: str(ROOT)},
            start_new_session=True,
        )


def follow(process: subprocess.Popen[bytes], show: Callable[[], None], here: bool = True) -> int:
    """Call `show` every second until Snakemake ends; returns its exit code.

    An exception, such as one raised by a signal, ends Snakemake and its jobs first. SIGTERM gives
    runs that are `here` the time to end their epoch with a checkpoint; a cluster's are cancelled.
    """
    first = signal.SIGINT
    try:
        while (status := process.poll()) is None:
            show()
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
        return status
    except Stopped as stop:
        first = signal.SIGTERM if here and stop.signum == signal.SIGTERM else first
        raise
    finally:
        if process.poll() is None:
            _stop(process, first)


def _stop(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    for signum in (first, signal.SIGKILL):
        os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S[first])
            return
