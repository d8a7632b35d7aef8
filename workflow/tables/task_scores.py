"""task_scores: final return of every benchmark, task and variant."""

import pandas as pd

from workflow.analysis import frames
from workflow.analysis.frames import Tables
from workflow.render import style
from workflow.render.draw import Params

_RUN = ["benchmark", "variant", "cell", "seed"]
_ROW = ["benchmark", "cell", "split", "task", "variant"]


def build(tables: Tables, _params: Params) -> pd.DataFrame:
    """Rows (benchmark, cell, split, task, variant, step, value, low, high, seeds) at the last step.

    The value is the mean return of a whole rollout; low and high are minimum and maximum over
    seeds. A run that several experiments share is counted once.
    """
    scores = frames.scores(frames.all_rows(tables, "evaluations")).drop_duplicates()
    final = scores[scores.step == scores.groupby(_RUN)["step"].transform("max")]
    return final.groupby(_ROW, as_index=False).agg(
        step=("step", "max"), value=("value", "mean"), low=("value", "min"),
        high=("value", "max"), seeds=("seed", "nunique"),
    )  # fmt: skip


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per task, a column per variant; the seeds' range in brackets."""
    shown = frame.assign(
        shown=[
            f"{value:.4g}" if seeds == 1 else f"{value:.4g} ({low:.4g}–{high:.4g})"
            for value, low, high, seeds in zip(
                frame.value, frame.low, frame.high, frame.seeds, strict=True
            )
        ]
    )
    keys = ["benchmark", "cell", "split", "task"]
    wide = shown.pivot(index=keys, columns="variant", values="shown").fillna("–")
    order = style.in_order(list(wide.columns))
    labels = {variant: style.agent_style(variant).label for variant in order}
    return wide[order].rename(columns=labels).rename_axis(columns=None).reset_index()
