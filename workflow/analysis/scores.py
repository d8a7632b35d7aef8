"""Scores in percent, over benchmarks and experiments: what aggregates and claims are made of."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import frames, statistics
from workflow.analysis.frames import SCORE, Tables
from workflow.analysis.normalisation import percent
from workflow.benchmarks.lookup import benchmark, comparable_benchmarks

KEYS = [key for key in SCORE if key != "step"]
"""A final score's columns, beside `value`: benchmark, variant, cell, seed, split, task."""
HELD_OUT = "test_tasks"
"""Evaluation set of tasks that are never trained on; all others are of training tasks."""
MIN_SEEDS = 3
"""Of fewer seeds there are points, neither intervals nor verdicts."""


def final(experiment: str, tables: Tables, attempt: int | None = None) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, value in %) of each run's last step.

    `attempt` is one attempt of a rollout; None is all of them. Benchmarks without a scale have no
    rows.
    """
    rows = of_experiment(experiment, tables, attempt)
    return frames.last_steps(rows)[[*KEYS, "value"]]


def of_experiment(experiment: str, tables: Tables, attempt: int | None = None) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, step, value in %) of one experiment.

    Agents of a benchmark that is merged with another are shown beside the agents of that one, as
    further variants: `dep_actor_dep_critic_clipped` on `atari`.
    """
    found = []
    for name, rows in frames.groups(tables[f"{experiment}.evaluations"], "benchmark").items():
        if name not in comparable_benchmarks():
            continue
        subset = percent(rows, benchmark(name), tables, attempt)
        if merged_with := benchmark(name).merged_with:
            variants = subset.variant + "_" + subset.cell
            subset = subset.assign(variant=variants, benchmark=merged_with, cell="default")
        found.append(subset[[*SCORE, "value"]])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*SCORE, "value"])


def of_all_experiments(tables: Tables, attempt: int | None = None) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, step, value in %) of all experiments.

    Raises:
        ConfigError: A benchmark has no scale.
    """
    evaluations = frames.all_rows(tables, "evaluations")
    parts = [evaluations[[*SCORE, "value"]].iloc[:0]]
    for name, rows in frames.groups(evaluations, "benchmark").items():
        if name not in comparable_benchmarks():
            known = ", ".join(comparable_benchmarks())
            raise ConfigError(
                f"scores of {name} cannot be compared: workflow/benchmarks gives no scale for it, "
                f"only for {known}"
            )
        parts.append(percent(rows, benchmark(name), tables, attempt)[[*SCORE, "value"]])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def gain(tables: Tables) -> pd.DataFrame:
    """As `of_all_experiments`: scores of a rollout's last attempt minus those of the first."""
    attempts = frames.all_rows(tables, "evaluations").groupby("benchmark").attempt.max()
    parts = []
    for number in sorted(set(attempts)):
        rows = of_all_experiments(tables, number)
        parts.append(rows[rows.benchmark.map(attempts) == number])
    first = of_all_experiments(tables, 0)
    both = pd.concat(parts).merge(first, on=SCORE, suffixes=("", "_first"))
    return both.assign(value=both.value - both.value_first).drop(columns="value_first")


def on_training_tasks(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks that are trained on."""
    return rows[rows.split != HELD_OUT]


def listed_benchmarks(tables: Tables) -> list[str]:
    """Benchmarks that the experiments have runs of, finished or not, in the order of figures."""
    listed = set(frames.all_rows(tables, "runs").benchmark)
    return [name for name in comparable_benchmarks() if name in listed]


def explanation(benchmarks: Sequence[str]) -> str:
    """A sentence on what the percentages of some benchmarks are of."""
    described = [comparable_benchmarks()[name] for name in benchmarks]
    parts = [f"{each.title}: {each.scale.percent_of}" for each in described if each.scale]
    return f"Score, mean over tasks, in percent. {'; '.join(parts)}."


def matrix(rows: pd.DataFrame) -> statistics.Array:
    """Scores (S, T) of one agent: rows by seed, columns by task, of the tasks every seed has."""
    wide = rows.pivot(index="seed", columns="task", values="value").dropna(axis="columns")
    return wide.to_numpy(dtype=float)


def bootstrap(
    scores: statistics.Array, statistic: statistics.Statistic
) -> statistics.Interval | None:
    """95 % interval of `statistic` of scores (S, T); none of fewer than three seeds.

    Drawn by a generator of its own, so that nothing computed before can change it.
    """
    if len(scores) < MIN_SEEDS:
        return None
    return statistics.stratified_bootstrap(scores, statistic, np.random.default_rng(0))


def improvement(ours: statistics.Array, theirs: statistics.Array) -> statistics.Interval | None:
    """Probability that a seed of `ours` (S, T) is better than one of `theirs` (R, T).

    With a 95 % interval, so None of fewer than three seeds.
    """
    if min(len(ours), len(theirs)) < MIN_SEEDS:
        return None
    return statistics.joint_bootstrap(
        [ours, theirs],
        lambda pair: statistics.probability_of_improvement(*pair),
        np.random.default_rng(0),
    )
