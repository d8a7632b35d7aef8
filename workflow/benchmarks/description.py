"""What the description of a benchmark says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# --- spaces --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Array:
    """An entry of an observation at the paper's settings."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    high: int = 0
    """Largest value, of integers; the least is 0."""


@dataclass(frozen=True)
class Actions:
    """The actions at the paper's settings."""

    kind: Literal["discrete", "continuous", "multibinary"]
    """Continuous ones are from -1 to 1."""
    size: int
    """Number of actions, of numbers in an action, or of buttons."""


# --- simulators ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of a package that has a licence of its own, which the metadata does not state."""

    name: str
    licence: str
    source: str
    """Where the licence was read."""


@dataclass(frozen=True)
class Simulator:
    """The package that an environment needs."""

    package: str
    """Its name on PyPI."""
    module: str
    """What is imported."""
    extra: str
    """Of `pyproject.toml`, which pins it."""
    extra_packages: tuple[str, ...] = ()
    """Further packages that are part of the simulator."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class UserFiles:
    """What only the user can bring. Runs that lack it are left out, and nothing fails."""

    name: str
    missing: str
    """Import path of a function that returns a sentence on what is missing, or None."""


# --- scores --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One number per task, from a table in `workflow/reference`."""

    file: str
    task: str
    """Column with the tasks' names, ours or the published ones."""
    value: str
    """Column with the numbers."""
    where: tuple[tuple[str, str], ...] = ()
    """Columns, and the values that the rows must have there."""

    @property
    def table(self) -> str:
        """The name by which figures and tables are given the file's content."""
        return f"scale_{self.file.partition('.')[0]}"


@dataclass(frozen=True)
class Scale:
    """How a return becomes percent; see the subclasses."""

    percent_of: str
    """What 100 percent are, as the figures say it."""


@dataclass(frozen=True)
class BetweenReferences(Scale):
    """0 and 100 percent are two returns per task."""

    zero: Column
    full: Column


@dataclass(frozen=True)
class ShareOfMaximum(Scale):
    """The return as a share of the largest possible one."""

    maximum: float = 1.0
    in_name: str = ""
    """Pattern whose first group is the maximum in a task's name; else `maximum` is of all tasks."""

    def maximum_of(self, task: str) -> float:
        """The largest possible return of an attempt at a task."""
        if not self.in_name:
            return self.maximum
        match = re.search(self.in_name, task)
        if match is None:
            raise ValueError(f"task {task} does not state its largest return: no {self.in_name}")
        return float(match[1])


@dataclass(frozen=True)
class SuccessRate(Scale):
    """The share of attempts that succeed."""


# --- the description -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, named as its file in `params/benchmarks`, which has the paper's settings."""

    name: str
    title: str
    """In figures and tables."""
    position: int
    """Place among the benchmarks in figures."""
    tasks: int
    """Number of training tasks."""
    held_out_tasks: int = 0
    """Number of tasks that are only evaluated."""
    published: bool = True
    """Whether the paper has it; the others are ours."""
    same_except_rewards: str = ""
    """Benchmark from which it differs in its training rewards alone."""

    # The environment
    simulator: Simulator | None = None
    """None if the environment needs no package of its own."""
    user_files: UserFiles | None = None
    observations: Mapping[str, Array] = field(default_factory=dict)
    actions: Actions | None = None
    stored_bytes: float = 50
    """Of a timestep in published replay, compressed, as measured in runs of the smallest budget."""
    rollout_steps: float = 500
    """Timesteps of a rollout at the paper's settings, on average, roughly: agents differ."""

    # Scores
    scale: Scale | None = None
    """None: scores are not compared with those of other benchmarks."""
    score_of: str = "attempt"
    """`attempt`: the mean over the attempts of a rollout counts; `rollout`: the rollout's return,
    in an environment that itself decides which attempts are rewarded."""
    experiment: str = ""
    """Experiment with its main results; by default the one of its name."""
    merged_with: str = ""
    """Benchmark beside whose agents its own are shown, as variants `<variant>_<cell>`."""

    published_spelling: tuple[tuple[str, str], ...] = ()
    """Parts of tasks' names in published figures, and how they are spelled here."""

    @property
    def main_experiment(self) -> str:
        """The experiment with its main results."""
        return self.experiment or self.name

    def task_name(self, published: str) -> str:
        """Our name of a task, from the one in the published figures."""
        for theirs, ours in self.published_spelling:
            published = published.replace(theirs, ours)
        return published
