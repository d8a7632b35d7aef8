"""The policy of the best evaluation, kept in a folder beside the last checkpoint."""

import csv
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from amago2.training import checkpoint as ckpt

BEST = "best"
"""The folder's name, in a run's folder. It is a checkpoint without what only training needs."""


def keep(scratch: Path, checkpoint: ckpt.Checkpoint) -> None:
    """Write a checkpoint in the place of the one that was the best so far."""
    temporary = scratch / "checkpoint.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    ckpt.write(temporary, checkpoint)
    ckpt.move_into_place(temporary, scratch / BEST)


class Evaluations:
    """Which evaluation of a run is the best so far, whatever the scales of its tasks' returns.

    A task's mean return counts by where it is in the range of those it had in the run, from 0 to 1,
    and an evaluation by the mean over its tasks. With one task the highest mean return is best.
    """

    def __init__(self, found: Iterable[Mapping[str, float]] = ()) -> None:
        """`found` has the mean return by task of each evaluation so far."""
        self._found = [dict(each) for each in found]

    @classmethod
    def of(cls, table: Path, split: str) -> "Evaluations":
        """Those of an evaluation set in a run's table of evaluations.

        So a run that is resumed knows what it had found until its checkpoint. What it found after
        that it finds again.
        """
        returns: dict[str, list[tuple[str, float]]] = defaultdict(list)
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["split"], row["metric"]) == (split, "return"):
                    returns[row["step"]].append((row["task"], float(row["value"])))
        return cls(map(mean_by_task, returns.values()))

    def add(self, returns: Mapping[str, float]) -> bool:
        """Whether none so far was better than this one, which is added: mean returns by task."""
        self._found.append(dict(returns))
        values: dict[str, list[float]] = defaultdict(list)
        for each in self._found:
            for task, value in each.items():
                values[task].append(value)
        ends = {task: (min(own), max(own)) for task, own in values.items()}
        scores = [
            float(np.mean([_place(value, *ends[task]) for task, value in each.items()]))
            for each in self._found
        ]
        return scores[-1] >= max(scores)


def _place(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.0


def mean_by_task(returns: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean return of each task, of pairs of a task's name and a return."""
    values: dict[str, list[float]] = defaultdict(list)
    for task, value in returns:
        values[task].append(value)
    return {task: float(np.mean(each)) for task, each in values.items()}
