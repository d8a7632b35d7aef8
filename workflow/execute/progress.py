"""How far a reproduction is and how long it still takes, from the files that its jobs write.

Only reads files, so it works on any machine that sees them, whatever runs the jobs.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from amago2.files import read_json
from workflow.dag.plan import Dag
from workflow.dag.runs import Run
from workflow.estimate.calibration import corrections
from workflow.estimate.formatting import duration
from workflow.estimate.hardware import cores
from workflow.estimate.plan import SECONDS_PER_TARGET
from workflow.estimate.training_time import estimated_seconds

ALIVE_S = 60.0
"""A trainer on another machine, whose lock cannot be seen, counts as alive for so long after it
last wrote its progress."""
LOCKS = Path("/proc/locks")
"""The kernel's list of the locks held on this machine, including its containers."""
TRUSTED_SHARE, TRUSTED_S = 0.03, 20.0
"""Once so much of the work and so much time is done, the observed speed replaces the estimate."""
PRINT_EVERY_S = 10.0
"""Where there is no terminal."""


class Training(NamedTuple):
    """A run that is being trained."""

    run: Run
    done: float
    """From 0 to 1."""
    state: dict[str, Any]
    """The trainer's `progress.json`."""

    def speed(self, what: str) -> float:
        """`env_steps` or `updates` per second since its process started."""
        gained = self.done - float(self.state["began"])
        share = gained / self.done if self.done else 0
        return float(self.state[what]) * share / max(float(self.state["elapsed_s"]), 1e-9)

    def left_s(self) -> float | None:
        """Seconds left at its speed so far; None before there is a speed."""
        gained = self.done - float(self.state["began"])
        return float(self.state["elapsed_s"]) * (1 - self.done) / gained if gained > 0 else None


def progress_of(run: Run) -> dict[str, Any]:
    """The trainer's `progress.json`; empty if there is none, or it is not whole."""
    if not (found := read_json(run.scratch / "progress.json")):
        return {}
    numbers = dict.fromkeys(("done", "began", "env_steps", "updates", "elapsed_s"), 0)
    state = {"phase": "", **numbers, **found}
    known = all(isinstance(state[key], int | float) and 0 <= state[key] < 2**63 for key in numbers)
    return state if known and isinstance(state["phase"], str) else {}


class Progress:
    """Progress on what was still to be made at the beginning.

    A trainer on another machine that has written nothing after `since` belongs to an earlier
    session; by default, `since` is now.
    """

    def __init__(self, dag: Dag, since: float | None = None) -> None:
        self.began = time.time()
        self.since = self.began if since is None else since
        self.total = sum(run.selected for run in dag.runs.values())
        self.runs = dag.pending
        self.targets = dag.stale
        factors = corrections(dag.runs.values())
        self.weights = {
            run.name: estimated_seconds(run.config) * factors.get(run.config.device, 1)
            for run in self.runs
        }
        self.work = sum(self.weights.values()) + SECONDS_PER_TARGET * len(self.targets)
        self.done_before: float | None = None

    @property
    def finished(self) -> int:
        """Number of finished runs."""
        return self.total - sum(not run.record.is_file() for run in self.runs)

    def line(self) -> str:
        """One line: runs, those being trained, tables and figures, time."""
        trained = [run for run in self.runs if run.record.is_file()]
        training = list(self.training())
        elapsed = time.time() - self.began
        parts = [f"runs {self.total - len(self.runs) + len(trained)}/{self.total} done"]
        if training:
            shown = ", ".join(f"{label(t.run)} {t.done:.0%}" for t in training[:4])
            more = ", ..." if len(training) > 4 else ""
            parts[0] += f", {len(training)} training ({shown}{more})"
        made = sum(target.stamp.exists() for target in self.targets)
        if made:
            parts.append(f"tables, figures {made}/{len(self.targets)}")
        left = self._left_s(trained, training, made, elapsed)
        return f"{', '.join(parts)}, elapsed {clock(elapsed)}, about {duration(left)} left"

    def training(self) -> Iterator[Training]:
        """Unfinished runs that a process is working on."""
        locked = locked_files()
        for run in self.runs:
            state = progress_of(run)
            if state and not run.record.is_file() and self._alive(run, locked):
                yield Training(run, float(state["done"]), state)

    def _alive(self, run: Run, locked: set[int]) -> bool:
        """Is a trainer at work? Its lock tells, as the kernel releases it however the trainer ends.

        Its process number would not: a container or another machine counts its own processes.
        """
        with suppress(FileNotFoundError):
            if (run.scratch / "lock").stat().st_ino in locked:
                return True
        with suppress(FileNotFoundError):
            written = (run.scratch / "progress.json").stat().st_mtime
            return written > self.since and abs(time.time() - written) < ALIVE_S
        return False

    def _left_s(
        self, trained: list[Run], training: list[Training], made: int, elapsed: float
    ) -> float:
        done = sum(self.weights[run.name] for run in trained) + SECONDS_PER_TARGET * made
        done += sum(self.weights[t.run.name] * t.done for t in training)
        if self.done_before is None:
            # What a resumed run had done before is not this session's work.
            self.done_before = done
        gained = done - self.done_before
        left = max(0.0, self.work - done)
        if elapsed > TRUSTED_S and gained > TRUSTED_SHARE * self.work:
            return left * elapsed / gained
        return left / cores()


class ProgressLine:
    """A line that is kept up to date on a terminal; elsewhere, a new line every few seconds."""

    def __init__(self) -> None:
        self._live = Live(auto_refresh=False) if Console().is_terminal else None
        self._printed = -PRINT_EVERY_S

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, line: str) -> None:
        """Show the line, if it is time."""
        if self._live:
            text = Text(line, no_wrap=True, overflow="ellipsis")
            self._live.update(text, refresh=True)
        elif time.monotonic() - self._printed >= PRINT_EVERY_S:
            self._printed = time.monotonic()
            print(line, flush=True)


def locked_files() -> set[int]:
    """Inodes of the files that are locked on this machine."""
    with suppress(OSError):
        # 1: FLOCK ADVISORY WRITE 4711 fe:00:5325535 0 EOF; a waiting one has an arrow before it
        held = (line.split() for line in LOCKS.read_text().splitlines() if "->" not in line)
        return {int(words[5].rpartition(":")[2]) for words in held}
    return set()


def label(run: Run) -> str:
    """Short name of a run: `popgym ind/dep seed 0`."""
    variant = run.config.variant.replace("_actor_", "/").removesuffix("_critic")
    return f"{run.config.benchmark} {variant} seed {run.config.seed}"


def clock(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
