"""How far a reproduction is, read from the files its jobs leave, and how long it still takes."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from workflow import cost
from workflow.dag import Dag, Run, Target
from workflow.plan import cores, duration
from workflow.receipts import read

TARGET_S = 4.0
"""What a figure or table takes, start of Python included."""
ALIVE_S = 60.0
"""A trainer on another machine is taken for alive this long after its last sign of life."""
TRUSTED_SHARE, TRUSTED_S = 0.03, 20.0
"""From this share of the work and time on, the observed speed replaces the guessed one."""


class Training(NamedTuple):
    """A run that is being trained."""

    run: Run
    done: float
    """From 0 to 1."""


class Progress:
    """Watches what was left to do when it began."""

    def __init__(self, dag: Dag) -> None:
        self.began = time.time()
        self.total = sum(run.selected for run in dag.runs.values())
        self.runs = dag.pending
        self.targets = [target for target in dag.targets if not target.done]
        correction = cost.correction(dag.runs.values())
        self.weights = {
            run.name: cost.guess_s(run.config) * correction.get(run.config.device, 1)
            for run in self.runs
        }
        self.work = sum(self.weights.values()) + TARGET_S * len(self.targets)
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
        made = sum(self.is_made(target) for target in self.targets)
        if made:
            parts.append(f"tables, figures {made}/{len(self.targets)}")
        left = self._left_s(trained, training, made, elapsed)
        return f"{', '.join(parts)}, elapsed {clock(elapsed)}, about {duration(left)} left"

    def training(self) -> Iterator[Training]:
        """Runs that have an unfinished state and a process that works on it."""
        for run in self.runs:
            path = run.scratch / "progress.json"
            state = read(path)
            if state and not run.record.is_file() and self._alive(path, int(state.get("pid", 0))):
                yield Training(run, float(state.get("done", 0)))

    def _alive(self, progress: Path, pid: int) -> bool:
        with suppress(FileNotFoundError):
            sign = progress.stat().st_mtime
            return Path(f"/proc/{pid}").exists() or sign > max(self.began, time.time() - ALIVE_S)
        return False

    def is_made(self, target: Target) -> bool:
        """Was it made since this began?"""
        receipt = Path(target.recipe.receipt)
        return receipt.is_file() and receipt.stat().st_mtime >= self.began

    def _left_s(
        self, trained: list[Run], training: list[Training], made: int, elapsed: float
    ) -> float:
        done = sum(self.weights[run.name] for run in trained) + TARGET_S * made
        done += sum(self.weights[t.run.name] * t.done for t in training)
        if self.before is None:
            # A resumed run's head start is no work of this session.
            self.before = done
        gained = done - self.before
        left = max(0.0, self.work - done)
        if elapsed > TRUSTED_S and gained > TRUSTED_SHARE * self.work:
            return left * elapsed / gained
        return left / cores()


def label(run: Run) -> str:
    """Short name of a run for people: `popgym ind/dep seed 0`."""
    variant = run.config.variant.replace("_actor_", "/").removesuffix("_critic")
    return f"{run.config.benchmark} {variant} seed {run.config.seed}"


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
