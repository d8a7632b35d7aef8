"""Scores in percent of each benchmark's own scale, for figures that compare settings by them."""

import pandas as pd

from amago2.errors import ConfigError
from workflow.analysis import frames
from workflow.analysis import scores as normalised
from workflow.analysis.frames import SCORE

NOVEL = "test_tasks"
"""Evaluation set of tasks never trained on; all others are of training tasks."""
# Benchmark: its name, and what its percent are of.
BENCHMARKS = {
    "return_scale": ("return_scale", "of a perfect attempt's return"),
    "popgym": ("POPGym", "from a random policy's return to the best published single-task one"),
    "ml45": ("Meta-World", "of attempts that succeed"),
    "babyai": ("BabyAI", "of the largest return of an attempt"),
}


def scores(tables: frames.Tables, attempt: int | None = None) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, step, value), by `normalised`."""
    evaluations = frames.every(tables, "evaluations")
    parts = [evaluations[[*SCORE, "value"]].iloc[:0]]
    for name, rows in frames.groups(evaluations, "benchmark").items():
        if name not in BENCHMARKS:
            known = ", ".join(BENCHMARKS)
            raise ConfigError(f"scores of {name} cannot be compared here, only those of {known}")
        parts.append(normalised.SCALES[name](rows, tables, attempt)[[*SCORE, "value"]])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def gain(tables: frames.Tables) -> pd.DataFrame:
    """As `scores`: the last attempt's of a rollout minus the first's."""
    attempts = frames.every(tables, "evaluations").groupby("benchmark").attempt.max()
    parts = []
    for number in sorted(set(attempts)):
        last = scores(tables, number)
        parts.append(last[last.benchmark.map(attempts) == number])
    both = pd.concat(parts).merge(scores(tables, 0), on=SCORE, suffixes=("", "_first"))
    return both.assign(value=both.value - both.value_first).drop(columns="value_first")


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
