"""Returns to percent of each benchmark's own scale, as `workflow/benchmarks` describes it.

0 and 100 percent are, for example, a random policy's return and the best published single-task one
in POPGym, or no and every attempt a success in Meta-World.
"""

import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import frames, statistics
from workflow.analysis.frames import Tables
from workflow.benchmarks.description import (
    Benchmark,
    BetweenReferences,
    Column,
    ShareOfMaximum,
    SuccessRate,
)

SOLVED = 2 / 3
"""Share of successful attempts from which on a task counts as solved."""


def percent(
    evaluations: pd.DataFrame, benchmark: Benchmark, tables: Tables, attempt: int | None = None
) -> pd.DataFrame:
    """Scores in percent of one benchmark's evaluations: rows (`frames.SCORE`, value).

    `attempt` is one attempt of a rollout; None is all of them.
    """
    if isinstance(benchmark.scale, SuccessRate):
        subset = evaluations if attempt is None else evaluations[evaluations.attempt == attempt]
        rates = success_rates(subset)
        return rates.assign(value=100 * rates.value)
    return normalise(_returns(evaluations, benchmark, attempt), benchmark, tables)


def normalise(returns: pd.DataFrame, benchmark: Benchmark, tables: Tables) -> pd.DataFrame:
    """Rows of returns with `value` in percent of the benchmark's scale."""
    scale = benchmark.scale
    if isinstance(scale, ShareOfMaximum):
        largest = maximum_returns(returns.task, benchmark)
        return returns.assign(value=100 * returns.value / largest)
    ends = limits(benchmark, tables)
    unknown = sorted(set(returns.task) - set(ends.dropna().index))
    if unknown:
        names = ", ".join(unknown)
        raise ConfigError(f"no reference score for {benchmark.title} task {names}")
    subset = ends.loc[returns.task]
    share = statistics.normalise(returns.value, subset.zero, subset.full) / 100
    return returns.assign(value=100 * share)


def maximum_returns(tasks: "pd.Series[str]", benchmark: Benchmark) -> "pd.Series[float]":
    """The largest possible return of an attempt at each of the tasks."""
    if not isinstance(benchmark.scale, ShareOfMaximum):
        raise ConfigError(f"benchmark {benchmark.name} has no largest return")
    return pd.Series([benchmark.scale.maximum_of(task) for task in tasks], tasks.index, dtype=float)


def limits(benchmark: Benchmark, tables: Tables) -> pd.DataFrame:
    """Per task, the return that counts as 0 percent and as 100: columns (zero, full)."""
    scale = benchmark.scale
    if not isinstance(scale, BetweenReferences):
        raise ConfigError(f"benchmark {benchmark.name} is not normalised between two returns")
    zero, full = (_by_task(column, benchmark, tables) for column in (scale.zero, scale.full))
    return pd.DataFrame({"zero": zero, "full": full})


def _by_task(column: Column, benchmark: Benchmark, tables: Tables) -> "pd.Series[float]":
    """The numbers of a column of a reference table, by our names of the tasks."""
    rows = tables[f"reference.{column.table}"]
    for name, value in column.where:
        rows = rows[rows[name] == value]
    tasks = [benchmark.task_name(name) for name in rows[column.task]]
    return pd.Series(rows[column.value].to_list(), tasks, dtype=float)


def _returns(evaluations: pd.DataFrame, benchmark: Benchmark, attempt: int | None) -> pd.DataFrame:
    """Returns of one attempt, or those of a rollout that count."""
    if attempt is not None:
        return frames.scores(evaluations, "attempt_return", attempt)
    if benchmark.score_of == "rollout":
        return frames.scores(evaluations)
    totals = frames.attempt_sums(evaluations)
    # Attempts that were never made count as 0.
    return totals.assign(value=totals.value / (1 + evaluations.attempt.max()))


def success_rates(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Share of successful attempts: rows (`frames.SCORE`, value)."""
    subset = evaluations[(evaluations.metric == "success") & (evaluations.attempt >= 0)]
    return subset.groupby(frames.SCORE, as_index=False).agg(value=("value", "mean"))


def solved(rates: pd.DataFrame) -> pd.DataFrame:
    """Number of tasks with a success rate of `SOLVED` or more: rows (variant, ..., step, value)."""
    # Two of three attempts in every rollout are 2/3 but for rounding.
    counted = rates.assign(value=(rates.value > SOLVED - 1e-9).astype(float))
    keys = ["variant", "cell", "seed", "split", "step"]
    return counted.groupby(keys, as_index=False).agg(value=("value", "sum"))
