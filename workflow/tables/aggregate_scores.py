"""aggregate_scores: interquartile mean, mean, median and optimality gap of every benchmark."""

from collections.abc import Iterator

import pandas as pd

from workflow.analysis import frames, statistics
from workflow.analysis import scores as normalised
from workflow.render import style
from workflow.render.draw import Params

STATISTICS: dict[str, statistics.Statistic] = {
    "iqm": statistics.interquartile_mean,
    "mean": statistics.mean,
    "median": statistics.median,
    "gap": statistics.optimality_gap,
}
NAMES = {"iqm": "IQM", "mean": "mean", "median": "median", "gap": "optimality gap"}
GROUP = ["benchmark", "cell", "split"]
_COLUMNS = [
    *GROUP, "variant", "seeds", "tasks",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")),
    "mean_min", "mean_max",
]  # fmt: skip


def build(tables: frames.Tables, params: Params) -> pd.DataFrame:
    """A row per benchmark, cell, split and variant: each statistic with its interval.

    `<statistic>_low` and `_high` are empty of fewer than three seeds; `mean_min` and `mean_max` are
    over seeds.
    """
    return pd.DataFrame(list(_rows(tables, params)), columns=_COLUMNS)


def _rows(tables: frames.Tables, params: Params) -> Iterator[dict[str, object]]:
    for name in params.spec.experiments:
        if f"{name}.evaluations" not in tables:
            continue
        scores = normalised.final(name, tables)
        for place, group in scores.groupby(GROUP):
            for variant in style.in_order(list(group.variant)):
                own = normalised.matrix(group[group.variant == variant])
                yield dict(zip(GROUP, place, strict=True)) | {"variant": variant} | aggregate(own)


def aggregate(scores: statistics.Array) -> dict[str, object]:
    """Every statistic of scores (S, T) of one agent, with its interval."""
    seeds = statistics.mean_min_max(scores.mean(axis=1))
    row: dict[str, object] = {"seeds": scores.shape[0], "tasks": scores.shape[1]}
    for name, statistic in STATISTICS.items():
        interval = normalised.bootstrap(scores, statistic)
        row[name] = statistic(scores)
        if interval is not None:
            row |= {f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}
    return row | {"mean_min": float(seeds.low), "mean_max": float(seeds.high)}


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """Estimates with intervals in square brackets, and the range over seeds in round ones."""
    labels = [style.look(variant).label for variant in frame.variant]
    shown = frame[GROUP].assign(variant=labels, seeds=frame.seeds, tasks=frame.tasks)
    for name, label in NAMES.items():
        ends = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        shown[label] = [_with_interval(*end) for end in ends]
    ranges = zip(frame.seeds, frame.mean_min, frame.mean_max, strict=True)
    shown["mean, range"] = [f"({low:.1f}–{high:.1f})" if n > 1 else "–" for n, low, high in ranges]
    return shown


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.1f}" if pd.isna(low) else f"{value:.1f} [{low:.1f}, {high:.1f}]"
