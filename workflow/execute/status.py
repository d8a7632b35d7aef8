"""How far a reproduction is, read from the files its jobs leave, and how long it still takes.

    python -m workflow.execute.status --budget smoke      every job, at this moment: `make status`

Reads files only, so that it works from any machine that sees them, whatever runs the jobs.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from amago2.errors import ConfigError
from amago2.files import read_json
from workflow.config.experiments import Selection
from workflow.dag.plan import Dag, plan
from workflow.dag.runs import Run
from workflow.estimate.calibration import corrections
from workflow.estimate.formatting import duration, short_number
from workflow.estimate.hardware import cores
from workflow.estimate.plan import SECONDS_PER_TARGET, arguments_parser
from workflow.estimate.training_time import estimated_seconds

ALIVE_S = 60.0
"""A trainer whose lock cannot be seen, on another machine, is taken for alive this long after its
last sign of life."""
LOCKS = Path("/proc/locks")
"""The kernel's list of locks that are held on this machine, in its containers too."""
TRUSTED_SHARE, TRUSTED_S = 0.03, 20.0
"""From this share of the work and time on, the observed speed replaces the guessed one."""


class Training(NamedTuple):
    """A run that is being trained."""

    run: Run
    done: float
    """From 0 to 1."""
    state: dict[str, Any]
    """What the trainer says of itself."""

    def speed(self, what: str) -> float:
        """Of `env_steps` or `updates`, a second, since its process started."""
        gained = self.done - float(self.state.get("began", 0))
        share = gained / self.done if self.done else 0
        return float(self.state[what]) * share / max(float(self.state["elapsed_s"]), 1e-9)

    def left_s(self) -> float | None:
        """Seconds left at its speed so far; None while that is not known."""
        gained = self.done - float(self.state.get("began", 0))
        return float(self.state["elapsed_s"]) * (1 - self.done) / gained if gained > 0 else None


class Progress:
    """Watches what was left to do when it began.

    `since` is the time before which a trainer's signs of life are those of an earlier session.
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
        self.before: float | None = None

    def line(self) -> str:
        """One line for a person: runs, what is being trained, tables and figures, time."""
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
        """Runs that have an unfinished state and a process that works on it."""
        locked = locked_files()
        for run in self.runs:
            state = read_json(run.scratch / "progress.json")
            if state and not run.record.is_file() and self._alive(run, locked):
                yield Training(run, float(state.get("done", 0)), state)

    def _alive(self, run: Run, locked: set[int]) -> bool:
        """By its lock, which any death releases. Its process's number would not tell: in a
        container, and on another machine, it is that of another process here."""
        with suppress(FileNotFoundError):
            if (run.scratch / "lock").stat().st_ino in locked:
                return True
        with suppress(FileNotFoundError):
            sign = (run.scratch / "progress.json").stat().st_mtime
            return sign > max(self.since, time.time() - ALIVE_S)
        return False

    def _left_s(
        self, trained: list[Run], training: list[Training], made: int, elapsed: float
    ) -> float:
        done = sum(self.weights[run.name] for run in trained) + SECONDS_PER_TARGET * made
        done += sum(self.weights[t.run.name] * t.done for t in training)
        if self.before is None:
            # A resumed run's head start is no work of this session.
            self.before = done
        gained = done - self.before
        left = max(0.0, self.work - done)
        if elapsed > TRUSTED_S and gained > TRUSTED_SHARE * self.work:
            return left * elapsed / gained
        return left / cores()


def locked_files() -> set[int]:
    """Inodes of the files on which somebody holds a lock on this machine."""
    with suppress(OSError):
        # 1: FLOCK ADVISORY WRITE 4711 fe:00:5325535 0 EOF; one that waits has an arrow before it
        held = (line.split() for line in LOCKS.read_text().splitlines() if "->" not in line)
        return {int(words[5].rpartition(":")[2]) for words in held}
    return set()


def label(run: Run) -> str:
    """Short name of a run for people: `popgym ind/dep seed 0`."""
    variant = run.config.variant.replace("_actor_", "/").removesuffix("_critic")
    return f"{run.config.benchmark} {variant} seed {run.config.seed}"


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def show(dag: Dag, console: Console) -> None:
    """Print what is being trained, and what waits or was interrupted."""
    progress = Progress(dag, since=0)
    training = {each.run.name: each for each in progress.training()}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"budget {dag.selection.budget}", no_wrap=True)
    for name in ("phase", "done", "steps", "updates", "steps/s", "updates/s", "time left, about"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in progress.runs:
        if each := training.get(run.name):
            counts = (short_number(each.state["env_steps"]), short_number(each.state["updates"]))
            speeds = (f"{each.speed(what):.3g}" for what in ("env_steps", "updates"))
            left = each.left_s()
            rest = "-" if left is None else duration(left)
            table.add_row(
                label(run), str(each.state["phase"]), f"{each.done:.0%}", *counts, *speeds, rest
            )
        elif state := read_json(run.scratch / "progress.json"):
            table.add_row(label(run), "interrupted", f"{state.get('done', 0):.0%}")
    if table.row_count:
        console.print(table)
    finished = progress.total - len(progress.runs)
    waiting = len(progress.runs) - table.row_count
    console.print(
        f"{finished} of {progress.total} runs are finished, {len(training)} are being trained, "
        f"{table.row_count - len(training)} are interrupted, {waiting} have not begun; "
        f"{len(progress.targets)} tables, figures and lists are to be made."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = arguments_parser("python -m workflow.execute.status", __doc__).parse_args(arguments)
    try:
        dag = plan(Selection.parse(vars(given)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    show(dag, Console(width=max(120, Console().width), highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
