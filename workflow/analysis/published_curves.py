"""Published curves of single tasks, combined for the tasks that a budget evaluates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workflow.analysis import frames
from workflow.analysis.frames import Tables
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark

POINTS = 80


def popgym(tables: Tables, tasks: Sequence[str]) -> pd.DataFrame:
    """Published curves (series, timesteps, value, low, high) of the mean over `tasks`, in percent.

    Over all tasks they are as printed. Over some they are made from the curves of single tasks.
    """
    described = benchmark("popgym")
    if len(tasks) == described.tasks:
        return tables["reference.curves"]
    curves = tables["reference.tasks"].dropna(subset="timesteps")
    curves = curves.assign(task=curves.panel.map(described.task_name))
    percent = normalise(curves[curves.task.isin(tasks)], described, tables)
    return mean_over_tasks(percent)


def at_equal_steps(curves: pd.DataFrame, trained: int, tasks: int) -> pd.DataFrame:
    """Curves (timesteps of all `tasks`, ...) against the timesteps of the `trained` ones of them.

    An agent of fewer tasks has then had as many timesteps of each.
    """
    return curves.assign(timesteps=curves.timesteps * (trained / tasks))


def mean_over_tasks(curves: pd.DataFrame) -> pd.DataFrame:
    """Means (series, timesteps, value, low, high) of rows (series, task, timesteps, value).

    At `POINTS` timesteps that every task's curve reaches. Single tasks say nothing of the seeds of
    their mean, so `low` and `high` are empty.
    """
    means = [
        _mean(rows).assign(series=name) for name, rows in frames.groups(curves, "series").items()
    ]
    return pd.concat(means, ignore_index=True).assign(low=np.nan, high=np.nan)


def _mean(curves: pd.DataFrame) -> pd.DataFrame:
    tasks = [rows.sort_values("timesteps") for rows in frames.groups(curves, "task").values()]
    steps = np.linspace(0, min(rows.timesteps.max() for rows in tasks), POINTS)
    values = [np.interp(steps, rows.timesteps, rows.value) for rows in tasks]
    return pd.DataFrame({"timesteps": steps, "value": np.mean(values, axis=0)})
