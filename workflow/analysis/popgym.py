"""What the POPGym figures share: names of tasks, and scores between random and single-task."""

from collections.abc import Sequence

import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import frames, published_curves, statistics

TASKS = 27
_INSTALLED = {"NoisyPosOnly": "NoisyPositionOnly", "Cartpole": "CartPole"}


def installed_name(task: str) -> str:
    """A task's name in the installed POPGym, from the one that the published figures print."""
    for published, installed in _INSTALLED.items():
        task = task.replace(published, installed)
    return task


def limits(tables: frames.Tables) -> pd.DataFrame:
    """Per task, the return that counts as 0 % (random policy) and as 100 % (best single-task)."""
    lines = tables["reference.tasks"]
    lines = lines[lines.series == "best_single_task_15M"]
    full = dict(zip(map(installed_name, lines.panel), lines.value, strict=True))
    zero = tables["reference.random"].set_index("task").mean_return
    return pd.DataFrame({"zero": zero, "full": pd.Series(full)})


def normalise(scores: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Rows of `scores` with `value` in percent of the task's own range."""
    unknown = sorted(set(scores.task) - set(ends.dropna().index))
    if unknown:
        raise ConfigError(f"no reference score for POPGym task {', '.join(unknown)}")
    own = ends.loc[scores.task]
    percent = statistics.normalise(scores.value, own.zero, own.full)
    return scores.assign(value=percent)


def published(tables: frames.Tables, tasks: Sequence[str]) -> pd.DataFrame:
    """Published curves (series, timesteps, value, low, high) of the mean over `tasks`, in percent.

    Over all tasks they are as printed. Over some they are made from the curves of single tasks.
    """
    if len(tasks) == TASKS:
        return tables["reference.curves"]
    curves = tables["reference.tasks"].dropna(subset="timesteps")
    curves = curves.assign(task=curves.panel.map(installed_name))
    percent = normalise(curves[curves.task.isin(tasks)], limits(tables))
    return published_curves.mean_over_tasks(percent)
