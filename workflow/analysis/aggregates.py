"""Aggregate statistics of final scores, per benchmark and agent, with their intervals."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pandas as pd

from workflow.analysis import frames, scores, statistics
from workflow.analysis.frames import Tables

STATISTICS: dict[str, statistics.Statistic] = {
    "iqm": statistics.interquartile_mean,
    "mean": statistics.mean,
    "median": statistics.median,
    "gap": statistics.optimality_gap,
}
NAMES = {"iqm": "IQM", "mean": "mean", "median": "median", "gap": "optimality gap"}
GROUP = ["benchmark", "cell", "split"]
COLUMNS = [
    *GROUP, "variant", "seeds", "tasks",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")),
    "mean_min", "mean_max",
]  # fmt: skip


Order = Callable[[Sequence[str]], list[str]]


def aggregates(tables: Tables, order: Order = sorted) -> pd.DataFrame:
    """A row per benchmark, cell, split and variant: each statistic with its interval.

    `<statistic>_low` and `_high` are empty of fewer than three seeds; `mean_min` and `mean_max` are
    over seeds. `order` sorts variants.
    """
    return pd.DataFrame(list(_rows(tables, order)), columns=COLUMNS)


def _rows(tables: Tables, order: Order) -> Iterator[dict[str, object]]:
    for name in frames.experiments(tables, "evaluations"):
        final = scores.final(name, tables)
        for place, group in final.groupby(GROUP):
            for variant in order(list(group.variant)):
                subset = scores.matrix(group[group.variant == variant])
                yield (
                    dict(zip(GROUP, place, strict=True)) | {"variant": variant} | aggregate(subset)
                )


def aggregate(values: statistics.Array) -> dict[str, object]:
    """Every statistic of scores (S, T) of one agent, with its interval."""
    seeds = statistics.mean_min_max(values.mean(axis=1))
    row: dict[str, object] = {"seeds": values.shape[0], "tasks": values.shape[1]}
    for name, statistic in STATISTICS.items():
        interval = scores.bootstrap(values, statistic)
        row[name] = statistic(values)
        if interval is not None:
            row |= {f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}
    return row | {"mean_min": float(seeds.low), "mean_max": float(seeds.high)}


def group_label(group: Iterable[object]) -> str:
    """Benchmark, cell and evaluation set in lines of their own; what goes without saying is out."""
    benchmark, cell, split = (str(part).replace("_", " ") for part in group)
    usual = {"default", "train", "test", benchmark.split()[-1]}
    return "\n".join([benchmark, *(text for text in (cell, split) if text not in usual)])
