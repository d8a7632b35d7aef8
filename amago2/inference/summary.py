"""Evaluations in few numbers: means with intervals, by task and over all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amago2.env.spaces import Array
from amago2.rollout.evaluate import WHOLE_ROLLOUT, EvaluationRow

ALL_TASKS = "all tasks"
RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """The mean of a metric, and its 95 % interval by bootstrap; None for a single rollout."""

    set: str
    task: str
    attempt: int | None
    """From 1; None if the metric is of the whole rollout."""
    metric: str
    mean: float
    low: float | None
    high: float | None
    rollouts: int


def summarise(rows: Sequence[EvaluationRow]) -> list[Summary]:
    """A summary for each evaluation set, task, attempt and metric.

    Where there are several tasks, another has the mean over tasks, of which each counts the same.
    """
    groups: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    for row in rows:
        tasks = groups.setdefault((row.split, row.attempt, row.metric), {})
        tasks.setdefault(row.task, []).append(row.value)
    found = []
    for (split, attempt, metric), by_task in sorted(groups.items()):
        number = None if attempt == WHOLE_ROLLOUT else attempt + 1
        sets = {task: [values] for task, values in sorted(by_task.items())}
        if len(sets) > 1:
            sets[ALL_TASKS] = list(by_task.values())
        for task, values in sets.items():
            mean, low, high = _interval([np.array(each) for each in values])
            count = sum(map(len, values))
            found.append(Summary(split, task, number, metric, mean, low, high, count))
    return found


def _interval(tasks: Sequence[Array]) -> tuple[float, float | None, float | None]:
    """Mean over tasks of means (N,), and where 95 % of its resampled values lie."""
    mean = float(np.mean([values.mean() for values in tasks]))
    if min(map(len, tasks)) < 2:
        return mean, None, None
    rng = np.random.default_rng(0)
    means = [
        values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1) for values in tasks
    ]
    low, high = np.percentile(np.mean(means, 0), [2.5, 97.5])
    return mean, float(low), float(high)
