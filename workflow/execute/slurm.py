"""A trainer in a Slurm job: asked to stop in time, and then queued again by the job itself.

A pre-empted job gets SIGTERM, and some time. The time limit comes with as little notice, so the
trainer is asked before. It stops after its epoch, with a checkpoint, and the job goes back to the
queue under its number: Snakemake does not see it end, and counts no failure.
"""

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

JOB = "SLURM_JOB_ID"
MARGIN_S, MARGIN = 900.0, 0.1
"""How long before the time limit a trainer is asked to stop, in seconds and as a share of the time
that the job has; the smaller one counts."""
POLL_S = 0.5
LAST_S = 60.0
"""For Slurm to end a job that it has queued again."""


def job() -> str | None:
    """Number of the Slurm job that this process is part of."""
    return os.environ.get(JOB)


class Trainer:
    """The process of a trainer, as a child of this one."""

    def __init__(self, job: str, command: Sequence[str], locks: Sequence[int]) -> None:
        """Start it; it inherits the descriptors of `locks`."""
        self.job, self.asked = job, False
        self.process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, lambda *_: None)  # for the trainer, which gets it too
        self.process = subprocess.Popen(command, pass_fds=locks)
        if self.asked:
            self._ask()

    def _ask(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        self.asked = True
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def run(self) -> int:
        """Wait for its end; returns its exit code. A job that is queued again ends meanwhile."""
        others = Path(tempfile.gettempdir()) / f"amago2-slurm-{os.getuid()}-{self.job}"
        with others.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            code = self._wait()
            if code and self.asked:
                # Trainers of one job stop together: the last one queues it again.
                fcntl.flock(file, fcntl.LOCK_EX)
                _queue_again(self.job)
        return code

    def _wait(self) -> int:
        left = time_left(self.job)
        end = None if left is None else time.monotonic() + left - min(MARGIN_S, MARGIN * left)
        assert self.process
        while (code := self.process.poll()) is None:
            if end is not None and time.monotonic() > end and not self.asked:
                print("the job's time limit is near: asking the run to stop", flush=True)
                self._ask()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(POLL_S)
        return code if code >= 0 else 128 - code


def time_left(job: str) -> float | None:
    """Seconds until the job's time limit; None if it has none, or Slurm does not answer."""
    said = _ask_slurm("squeue", "--noheader", "--job", job, "--format", "%L")
    days, _, clock = said.rpartition("-")
    try:
        parts = [int(days or 0), *(int(part) for part in clock.split(":"))]
    except ValueError:
        return None
    seconds = 0
    for part, weight in zip(reversed(parts[1:]), (1, 60, 3600), strict=False):
        seconds += part * weight
    return seconds + 86400.0 * parts[0]


def _queue_again(job: str) -> None:
    """Have Slurm start this job again, and wait for it to end this one.

    Not one that Slurm ends by itself: it is pre-empted, and queued already, or cancelled.
    """
    if _ask_slurm("squeue", "--noheader", "--job", job, "--format", "%T") != "RUNNING":
        return
    print(f"queueing job {job} again: it continues from its checkpoint", flush=True)
    _ask_slurm("scontrol", "requeue", job)
    end = time.monotonic() + LAST_S
    while time.monotonic() < end:
        if _ask_slurm("squeue", "--noheader", "--job", job, "--format", "%T") == "RUNNING":
            return  # it may not be queued again: Snakemake sends another
        time.sleep(POLL_S)


def _ask_slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
