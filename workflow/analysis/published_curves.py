"""Published curves of single tasks, put together for the tasks that a budget evaluates."""

import numpy as np
import pandas as pd

from workflow.analysis import frames

POINTS = 80


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
