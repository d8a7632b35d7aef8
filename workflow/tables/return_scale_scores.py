"""return_scale_scores: final score of every variant on every task of return_scale."""

import pandas as pd

from workflow.analysis import frames
from workflow.analysis.frames import Tables
from workflow.analysis.normalisation import maximum_returns, normalise
from workflow.benchmarks.lookup import benchmark
from workflow.render import style
from workflow.render.draw import Params

_KEYS = ["cell", "variant", "task"]


def build(tables: Tables, _params: Params) -> pd.DataFrame:
    """Rows (cell, variant, task, scale, step, score_pct, low, high, seeds) at the last step.

    The score is in percent of the largest possible return; low and high are the minimum and maximum
    over seeds.
    """
    described = benchmark("return_scale")
    returns = frames.last_steps(frames.scores(frames.all_rows(tables, "evaluations")))
    scores = normalise(returns, described, tables)
    grouped = scores.groupby(_KEYS, as_index=False)
    table = grouped.agg(
        step=("step", "max"), score_pct=("value", "mean"), low=("value", "min"),
        high=("value", "max"), seeds=("seed", "nunique"),
    )  # fmt: skip
    table.insert(3, "scale", maximum_returns(table.task, described))
    rank = {name: place for place, name in enumerate(style.in_order(list(table.variant)))}
    order = table.assign(rank=table.variant.map(rank)).sort_values(["cell", "rank", "task"]).index
    return table.loc[order].reset_index(drop=True)


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per cell and variant, a column per task; the seeds' range in brackets.

    Reward scales differ between cells, so that a column is a task's place, not its name.
    """
    ends = zip(frame.score_pct, frame.low, frame.high, frame.seeds, strict=True)
    agents = [style.agent_style(variant).label for variant in frame.variant]
    place = frame.groupby(["cell", "variant"]).cumcount() + 1
    long = frame.assign(variant=agents, shown=[_shown(*end) for end in ends], place=place)
    keys = ["cell", "variant", "seeds"]
    wide = long.pivot(index=keys, columns="place", values="shown").rename(columns="task {}".format)
    order = list(long[keys].drop_duplicates().itertuples(index=False, name=None))
    return wide.loc[order].rename_axis(columns=None).reset_index()


def _shown(value: float, low: float, high: float, seeds: int) -> str:
    return f"{value:.0f}" if seeds == 1 else f"{value:.0f} ({low:.0f}–{high:.0f})"
