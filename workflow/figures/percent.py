"""Scores in percent, alike for all tasks of a benchmark, so that their mean says something."""

import pandas as pd

from amago2.layers import ConfigError
from workflow import frames
from workflow.figures import popgym
from workflow.figures.ext_return_scale import of_maximum

NOVEL = "test_tasks"
"""Evaluation set of tasks never trained on; all others are of training tasks."""
# Benchmark: its name, and what its percent are of.
BENCHMARKS = {
    "return_scale": ("return_scale", "of a perfect attempt's return"),
    "popgym": ("POPGym", "from a random policy's return to the best published single-task one"),
    "ml45": ("Meta-World", "of attempts that succeed"),
    "babyai": ("BabyAI", "of the largest return of an attempt"),
}


def attempts(tables: frames.Tables) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, step, attempt, value) in percent."""
    evaluations = frames.every(tables, "evaluations")
    parts = [
        _percent(name, rows, tables)
        for name, rows in frames.groups(evaluations, "benchmark").items()
    ]
    columns = [*frames.SCORE, "attempt", "value"]
    return pd.concat([part[columns] for part in parts]) if parts else evaluations[columns]


def _percent(benchmark: str, evaluations: pd.DataFrame, tables: frames.Tables) -> pd.DataFrame:
    if benchmark not in BENCHMARKS:
        raise ConfigError(f"no percentage is defined for {benchmark}, only for {list(BENCHMARKS)}")
    metric = "success" if benchmark == "ml45" else "attempt_return"
    own = evaluations[(evaluations.metric == metric) & (evaluations.attempt >= 0)]
    if benchmark == "return_scale":
        return of_maximum(own)
    if benchmark == "popgym":
        return popgym.normalise(own, popgym.limits(tables))
    return own.assign(value=100 * own.value)


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of whole rollouts, from those of attempts: their mean, but POPGym's last alone.

    POPGym's first attempt is for exploring: nothing in it is rewarded.
    """
    own = rows[(rows.benchmark != "popgym") | (rows.attempt == _last(rows))]
    return own.groupby(frames.SCORE, as_index=False).agg(value=("value", "mean"))


def gain(rows: pd.DataFrame) -> pd.DataFrame:
    """The last attempt's score minus the first's."""
    first, last = (
        rows[rows.attempt == place].set_index(frames.SCORE).value for place in (0, _last(rows))
    )
    return (last - first).reset_index()


def _last(rows: pd.DataFrame) -> pd.Series:
    """Number of the last attempt, row by row."""
    number: pd.Series = rows.groupby(["benchmark", "cell"]).attempt.transform("max")
    return number


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of training tasks."""
    return rows[rows.split != NOVEL]


def note(benchmarks: list[str]) -> str:
    """What the percentages of some benchmarks are of."""
    parts = [f"{name}: {of}" for name, of in (BENCHMARKS[key] for key in benchmarks)]
    return f"Score, mean over tasks, in percent. {'; '.join(parts)}."


def in_order(tables: frames.Tables) -> list[str]:
    """The benchmarks that a figure's experiments have runs of, finished or not."""
    listed = set(frames.every(tables, "runs").benchmark)
    return [name for name in BENCHMARKS if name in listed]
