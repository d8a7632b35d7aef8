"""One reproduction at a time in a checkout, and no process left over from one that was killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from workflow.setup.clean import mark

ROOT = Path(__file__).resolve().parents[2]
MARK = "AMAGO2_REPRODUCE"
"""Variable set for Snakemake and everything that it starts, by which orphans are recognised."""
LOCK = Path(".snakemake") / "reproduce.lock"
STOP_TIMEOUT_S = 30.0
"""For orphaned processes to end by themselves."""


class AlreadyRunning(RuntimeError):
    """Another process is making something in this folder; the message says which."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold this folder's lock, which the kernel releases however the process ends.

    The file holds the process's number. Raises `AlreadyRunning` if another process has the lock.
    """
    mark(LOCK.parent)
    try:
        with FileLock(LOCK, blocking=False):
            LOCK.write_text(str(os.getpid()))
            yield
    except Timeout:
        raise AlreadyRunning(
            f"`make reproduce` is already running here (process {LOCK.read_text().strip()}); "
            "wait for it, or stop it first"
        ) from None


def end_orphans() -> None:
    """End what a killed reproduction left running; its runs will continue.

    Raises `AlreadyRunning` if the user runs Snakemake here.
    """
    orphans, others = [], []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(ROOT):
                orphans.append(process)
            elif _is_snakemake(process) and process.cwd() == str(ROOT):
                others.append(process)
        except (psutil.Error, OSError):
            continue  # it has ended, or belongs to another user
    if others:
        raise AlreadyRunning(
            f"snakemake is already running here (process {others[0].pid}); "
            "wait for it, or stop it first"
        )
    if orphans:
        print(f"ending {len(orphans)} processes of an interrupted reproduction; its runs continue")
        for process in orphans:
            _signal(process, signal.SIGTERM)
        for process in psutil.wait_procs(orphans, STOP_TIMEOUT_S)[1]:
            _signal(process, signal.SIGKILL)


def _is_snakemake(process: psutil.Process) -> bool:
    return any(Path(part).name == "snakemake" for part in process.cmdline()[:3])


def _signal(process: psutil.Process, signum: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)
