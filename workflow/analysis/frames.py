"""Tidy tables as data frames, and the reductions that figures and tables share."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import statistics
from workflow.analysis.tidy import COLUMNS, open_csv
from workflow.config.catalog import Spec

Tables = Mapping[str, pd.DataFrame]

_TEXT = dict.fromkeys(
    ("experiment", "benchmark", "variant", "run", "key", "task", "split", "cell", "metric", "name",
     "source", "state", "settings", "git_commit", "lock_sha256", "container_digest", "gpu_name",
     "cpu"),
    str,
)  # fmt: skip
MAX_COLUMNS, MAX_HEADER = 1000, 100_000
_WHOLE = {"seed", "attempt", "step", "rollouts", "timestep", "tasks"}
"""Whole numbers, in every row."""
_NUMBERS = {"value", "accuracy", "chance", "resumptions", "planned_s", "wall_s", "cpu_s",
            "env_steps", "updates", "steps_per_s", "updates_per_s", "peak_rss_bytes",
            "gpu_peak_bytes", "gpu_mean_util", "gpu_joules"}  # fmt: skip
"""Numbers, which may be left out."""


def load(spec: Spec, folder: Path, known: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Every table that the specification names; an experiment that has not run has empty ones.

    `folder` has a budget's results, `known` are the names of the experiments.
    """
    return {table: read(table, path) for table, path in spec.sources(folder, known).items()}


def read(table: str, path: Path) -> pd.DataFrame:
    """One table; one that its experiment has not made is empty, any other must be there.

    Raises `ConfigError` for a file that is missing or not such a table.
    """
    columns = COLUMNS.get(table.rpartition(".")[2])
    if path.exists():
        frame = read_csv(path, dtype=_TEXT, na_values=[""])
        _check(frame, columns or (), path)
        return frame
    if columns is None or table.startswith("reference."):
        raise ConfigError(f"{path}: no such file; `make figures` makes it")
    return pd.DataFrame(columns=list(columns))


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV file that somebody else may have made. Raises `ConfigError` if it is none."""
    try:
        with open_csv(path) as file:
            # pandas takes hours to tell very many columns of the same name apart.
            if file.readline(MAX_HEADER).count(",") >= MAX_COLUMNS:
                raise ConfigError(f"{path}: has more than {MAX_COLUMNS} columns")
            file.seek(0)
            frame: pd.DataFrame = pd.read_csv(file, **{"keep_default_na": False, **options})
    except ConfigError:
        raise
    except (ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
        raise ConfigError(f"{path}: not a readable table: {error}") from None
    return frame


def _check(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise `ConfigError` unless all columns are there and hold what they are to hold."""
    for name in columns:
        if name not in frame:
            raise ConfigError(f"{path}: has no column {name}; `make tables` makes it anew")
        column = frame[name]
        numeric = pd.api.types.is_numeric_dtype(column) and column.dtype != bool
        whole = pd.api.types.is_integer_dtype(column)
        if len(frame) and ((name in _WHOLE and not whole) or (name in _NUMBERS and not numeric)):
            kind = "whole numbers" if name in _WHOLE else "numbers"
            raise ConfigError(f"{path}: column {name} holds other things than {kind}")


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
