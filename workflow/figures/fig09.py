"""fig09: Multi-Game Atari without reward clipping, a panel per game."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from workflow.analysis import frames, scores
from workflow.analysis.normalisation import limits
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

COLUMNS = 4
NOTE = (
    "Left axes: human-normalised score (0: random policy, 1: a person), right axes: the game's own "
    "score. Games get equally many steps."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Curves of human-normalised score against the timesteps of one game."""
    if frames.all_rows(tables, "evaluations").empty:
        return panels.empty_figure(params)
    ends = limits(benchmark("atari"), tables)
    rows = per_game(scores.of_experiment("atari", tables))
    published = tables["reference.curves"] if params.spec.show_reference else None
    note = NOTE if published is None else f"{NOTE} Published curves are cut where ours end."
    drawn = rows[rows.task.isin(ends.index)]
    names = panels.series_before(published, float(drawn.step.max()))
    entries = panels.legend_entries(list(rows.variant), names)
    height = -(-len(ends) // COLUMNS)
    figure, body = panels.new_figure(params, 1.15 * height, panels.run_notes(tables, note), entries)
    grid = list(body.subplots(height, COLUMNS).flat)
    games = frames.groups(rows, "task")
    for axes, game in zip(grid, ends.index, strict=False):
        axes.set_title(game, fontsize=7)
        if game not in games:
            panels.empty_panel(axes, "not evaluated")
            continue
        curves = None if published is None else published[published.panel == game]
        panels.draw_agents(axes, games[game], curves, small=True)
        _raw_axis(axes, float(ends.zero[game]), float(ends.full[game]))
    for axes in grid[len(ends) :]:
        axes.set_visible(False)
    body.supxlabel("timesteps of the game", fontsize=7.5)
    return figure


def per_game(percent: pd.DataFrame) -> pd.DataFrame:
    """Scores as shares of a person's, with `step` as timesteps of one game of those played."""
    games = percent.task.nunique()
    return percent.assign(value=percent.value / 100, step=percent.step / games)


def _raw_axis(axes: Axes, random: float, human: float) -> None:
    span = human - random

    def raw(score: ArrayLike) -> ArrayLike:
        return random + span * np.asarray(score, dtype=float)

    def normalised(score: ArrayLike) -> ArrayLike:
        return (np.asarray(score, dtype=float) - random) / span

    right = axes.secondary_yaxis("right", functions=(raw, normalised))
    right.yaxis.set_major_formatter(style.short_number)
    right.tick_params(labelsize=6, pad=1.5, colors=style.MUTED)
    right.spines["right"].set_visible(True)
    axes.tick_params(axis="y", labelsize=6.5, pad=1.5)
