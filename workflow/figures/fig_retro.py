"""fig_retro: Super Mario in Gym Retro, the two-hot critic against the squared error."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.render import panels, style
from workflow.render.draw import Params

II, ID = "ind_actor_ind_critic", "ind_actor_dep_critic"
ROW = 0.118  # inches a start state
FREE = "The free game stands in for Super Mario, whose ROMs are not here: this is no Mario result."
NOTE = (
    "Left: mean return over the start states of the first game. Right: return of Ind. / Ind. above "
    "that of Ind. / Dep. at the last step, as a share of the latter's size; n/a: that is 0. No "
    "published numbers."
)


class Options(Section):
    """Parameters of the figure."""

    absolute: str = "SuperMarioBros-Nes"
    """Game of the learning curves; the others are compared start by start. Else all are both."""
    free_cell: str = Field("free", min_length=1)
    free_title: str = "Gym Retro: the free game"
    """Title where that cell is all there is: it must not go by Mario's name."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """Learning curves of one game, and relative gains of each start of the others."""
    scores = frames.scores(frames.all_rows(tables, "evaluations"))
    if scores.empty:
        return panels.empty_figure(params)
    first = scores.task.str.startswith(params.options.absolute + ":")
    curves, others = (scores[first], scores[~first]) if first.any() else (scores, scores)
    gains = relative_gain(frames.last_steps(others))
    note = NOTE
    if set(scores.cell) == {params.options.free_cell}:
        note = f"{NOTE} {FREE}"
        spec = params.spec.model_copy(update={"title": params.options.free_title})
        params = replace(params, spec=spec)
    height = max(1.9, 0.5 + ROW * len(gains))
    notes, entries = panels.run_notes(tables, note), panels.legend_entries(list(scores.variant))
    figure, body = panels.new_figure(params, height, notes, entries)
    left, right = body.subplots(1, 2)
    panels.draw_agents(left, frames.task_means(curves))
    left.set(xlabel="environment steps", ylabel="return", title="mean return")
    _gains(right, gains)
    return figure


def relative_gain(scores: pd.DataFrame) -> pd.Series:
    """(II - ID) / |ID| per task, of means over seeds; NaN where ID is 0, left out without both."""
    means = scores.pivot_table("value", "task", "variant", "mean").reindex(columns=[II, ID])
    means = means.dropna()
    gain = (means[II] - means[ID]) / means[ID].abs().where(means[ID] != 0)
    return gain.sort_values(kind="stable", na_position="first")


def _gains(axes: Axes, gains: pd.Series) -> None:
    axes.set_title("relative gain of Ind. / Ind.")
    if gains.empty:
        panels.empty_panel(axes, "no start with both agents")
        return
    places = np.arange(len(gains))
    colours = [style.agent_style(II if gain >= 0 else ID).colour for gain in gains]
    axes.barh(places, 100 * gains.fillna(0), 0.75, color=colours)
    largest = 100 * float(gains.abs().max()) if gains.notna().any() else 0
    if largest < 10:
        axes.set_xlim(-10, 10)
    for place, gain in zip(places, gains, strict=True):
        if gain == 0 or np.isnan(gain):  # no bar to see
            text = "0" if gain == 0 else "n/a"
            axes.annotate(
                text, (0, float(place)), (3, 0), textcoords="offset points", fontsize=6,
                va="center", color=style.MUTED,
            )  # fmt: skip
    axes.axvline(0, color=style.DARK, linewidth=0.6)
    axes.set_yticks(places, [name.replace("SuperMario", "SM") for name in gains.index], fontsize=6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("gain (%)")
