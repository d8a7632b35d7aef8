"""aggregate_scores: interquartile mean, mean, median and optimality gap of every benchmark."""

import pandas as pd

from workflow.analysis import frames
from workflow.analysis.aggregates import GROUP, NAMES, aggregates
from workflow.render import style
from workflow.render.draw import Params


def build(tables: frames.Tables, _params: Params) -> pd.DataFrame:
    """A row per benchmark, cell, split and variant; see `aggregates`."""
    return aggregates(tables, style.in_order)


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """Estimates with intervals in square brackets, and the range over seeds in round ones."""
    labels = [style.agent_style(variant).label for variant in frame.variant]
    shown = frame[GROUP].assign(variant=labels, seeds=frame.seeds, tasks=frame.tasks)
    for name, label in NAMES.items():
        ends = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        shown[label] = [_with_interval(*end) for end in ends]
    ranges = zip(frame.seeds, frame.mean_min, frame.mean_max, strict=True)
    shown["mean, range"] = [f"({low:.1f}–{high:.1f})" if n > 1 else "–" for n, low, high in ranges]
    return shown


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.1f}" if pd.isna(low) else f"{value:.1f} [{low:.1f}, {high:.1f}]"
