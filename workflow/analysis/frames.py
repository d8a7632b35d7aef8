"""Tidy tables as data frames, and the reductions that figures and tables share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import statistics
from workflow.analysis.tidy import COLUMNS
from workflow.config.catalog import Spec

Tables = Mapping[str, pd.DataFrame]

_TEXT = dict.fromkeys(
    ("run", "key", "task", "split", "cell", "git_commit", "lock_sha256", "container_digest",
     "gpu_name"), str,
)  # fmt: skip


def load(spec: Spec, folder: Path, known: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Every table that the specification names; an experiment that has not run has empty ones.

    `folder` has a budget's results, `known` are the names of the experiments.
    """
    return {table: read(table, path) for table, path in spec.sources(folder, known).items()}


def read(table: str, path: Path) -> pd.DataFrame:
    """One table; one that its experiment has not made is empty, any other must be there."""
    columns = COLUMNS.get(table.rpartition(".")[2])
    if path.is_file():
        return pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values=[""])
    if columns is None or table.startswith("reference."):
        raise ConfigError(f"{path}: no such file; `make figures` makes it")
    return pd.DataFrame(columns=list(columns))


def all_rows(tables: Tables, kind: str) -> pd.DataFrame:
    """The tables of one kind of all experiments, one below the other."""
    found = [frame for name, frame in tables.items() if name.endswith(f".{kind}") and len(frame)]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS[kind]))
    return pd.concat(found, ignore_index=True)


def experiments(tables: Tables, kind: str) -> list[str]:
    """Names of the experiments that have a table of this kind, in order."""
    ending = f".{kind}"
    return [name.removesuffix(ending) for name in tables if name.endswith(ending)]


def groups(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of each value of a text column, in order of the values."""
    return {str(value): frame[frame[column] == value] for value in sorted(set(frame[column]))}


def scores(
    evaluations: pd.DataFrame, metric: str = "return", attempt: int = -1, split: str | None = None
) -> pd.DataFrame:
    """Rows (variant, cell, seed, split, task, step, value) of one metric and attempt.

    `attempt` -1 is the whole rollout; without a `split`, all evaluation sets are there.
    """
    chosen = evaluations[(evaluations.metric == metric) & (evaluations.attempt == attempt)]
    chosen = chosen if split is None else chosen[chosen.split == split]
    return chosen[[*SCORE, "value"]].reset_index(drop=True)


SCORE = ["benchmark", "variant", "cell", "seed", "split", "task", "step"]


def attempt_sums(evaluations: pd.DataFrame, metric: str = "attempt_return") -> pd.DataFrame:
    """As `scores`, with the sum over the attempts of a rollout, on average over rollouts.

    Rollouts that were cut short have fewer attempts, so that each counts with its own number.
    """
    chosen = evaluations[(evaluations.metric == metric) & (evaluations.attempt >= 0)]
    chosen = chosen.assign(total=chosen.value * chosen.rollouts)
    sums = chosen.groupby(SCORE, as_index=False).agg(
        total=("total", "sum"), rollouts=("rollouts", "max")
    )
    return sums.assign(value=sums.total / sums.rollouts).drop(columns=["total", "rollouts"])


def task_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over tasks: rows (variant, cell, seed, step, value)."""
    keys = ["variant", "cell", "seed", "split", "step"]
    return frame.groupby(keys, as_index=False).agg(value=("value", "mean"))


def last_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last step."""
    final = frame.groupby(["benchmark", "variant", "cell", "seed"])["step"].transform("max")
    return frame[frame.step == final].reset_index(drop=True)


@dataclass(frozen=True)
class Curve:
    """A learning curve over seeds: steps (K,), and mean, minimum and maximum, each (K,)."""

    steps: statistics.Array
    interval: statistics.Interval
    seeds: int


def curve(frame: pd.DataFrame) -> Curve:
    """Rows (seed, step, value) as one curve, at the steps that every seed has reached."""
    wide = frame.pivot(index="seed", columns="step", values="value").dropna(axis="columns")
    steps = wide.columns.to_numpy(dtype=float)
    return Curve(steps, statistics.mean_min_max(wide.to_numpy(dtype=float)), len(wide))
