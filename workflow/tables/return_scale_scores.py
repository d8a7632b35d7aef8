"""return_scale_scores: final score of every variant on every task of return_scale."""

import pandas as pd

from workflow.analysis import frames, statistics
from workflow.analysis.frames import Tables
from workflow.analysis.normalisation import maximum_returns, normalise
from workflow.analysis.scores import improvement
from workflow.benchmarks.lookup import benchmark
from workflow.render import style
from workflow.render.draw import Params

_KEYS = ["cell", "variant", "task"]
_II = "ind_actor_ind_critic"
_CHANCE = ["better", "better_low", "better_high"]
_BETTER = "P(Ind./Ind. better), task 1"


def build(tables: Tables, _params: Params) -> pd.DataFrame:
    """Rows (cell, variant, task, scale, step, score_pct, low, high, seeds, better, ...).

    At the last step. The score is in percent of the largest possible return; low and high are the
    minimum and maximum over seeds. `better` is the probability that a seed of Ind. / Ind. scores
    more than one of this variant, ties counted half, between better_low and better_high with 95 %.
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
    ours = dict(tuple(scores[scores.variant == _II].groupby(["cell", "task"])))
    found = [
        _better(ours.get((cell, task)), rows, variant)
        for (cell, variant, task), rows in scores.groupby(_KEYS)
    ]
    table = table.join(pd.DataFrame(found, index=table.index, columns=_CHANCE, dtype=float))
    rank = {name: place for place, name in enumerate(style.in_order(list(table.variant)))}
    order = table.assign(rank=table.variant.map(rank)).sort_values(["cell", "rank", "task"]).index
    return table.loc[order].reset_index(drop=True)


def _better(
    ours: pd.DataFrame | None, theirs: pd.DataFrame, variant: object
) -> tuple[float, float, float]:
    if ours is None or variant == _II:
        return float("nan"), float("nan"), float("nan")
    pair = [
        rows.sort_values("seed").value.to_numpy(dtype=float)[:, None] for rows in (ours, theirs)
    ]
    if not (interval := improvement(*pair)):
        return statistics.probability_of_improvement(*pair), float("nan"), float("nan")
    return float(interval.value), float(interval.low), float(interval.high)


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
    first = long[long.place == 1].set_index(keys)
    wide[_BETTER] = [_chance(*first.loc[key, _CHANCE]) for key in wide.index]
    return wide.loc[order].rename_axis(columns=None).reset_index()


def _chance(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.2f}" if pd.isna(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _shown(value: float, low: float, high: float, seeds: int) -> str:
    return f"{value:.0f}" if seeds == 1 else f"{value:.0f} ({low:.0f}–{high:.0f})"
