"""fig15: imbalanced Procgen data, share of each game in the replay over training."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workflow.analysis import frames, statistics
from workflow.render import panels, style
from workflow.render.draw import Params

AGENTS = ("ind_actor_ind_critic", "dep_actor_dep_critic")
STAGES = {"start": 0.0, "25 %": 0.25, "50 %": 0.5, "100 %": 1.0}
BARS = "mean over seeds"
NOTE = (
    "Share of the timesteps in the replay that are a game's, at the first record (a policy that is "
    "still nearly random) and at 25, 50 and 100 % of training. No published numbers."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """A stacked bar per stage, a panel per agent."""
    metrics = frames.all_rows(tables, "metrics")
    subset = metrics[(metrics.name == "replay_share") & (metrics.cell == "default")]
    if subset.empty:
        return panels.empty_figure(params)
    games = sorted(
        set(subset.key), key=lambda game: -float(subset[subset.key == game].value.mean())
    )
    shades = colormaps["cividis"](np.linspace(0, 1, len(games)))
    entries = [Patch(color=shade, label=game) for shade, game in zip(shades, games, strict=True)]
    figure, body = panels.new_figure(
        params, 1.9, panels.run_notes(tables, NOTE, bars=BARS), entries
    )
    for axes, agent in zip(body.subplots(1, 2, sharey=True), AGENTS, strict=True):
        axes.set_title(style.agent_style(agent).label)
        rows = subset[subset.variant == agent]
        if rows.empty:
            panels.empty_panel(axes, "no finished run")
        else:
            _bars(axes, shares(rows).reindex(games).fillna(0), shades)
    body.supylabel("share of the replay (%)", fontsize=7.5)
    return figure


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Percent by game (rows) and stage (columns), from rows (seed, step, key, value)."""
    steps = np.array(sorted(set(rows.step)), dtype=float)
    found = {}
    for name, part in STAGES.items():
        nearest = steps[np.argmin(np.abs(steps - part * steps[-1]))]
        found[name] = 100 * rows[rows.step == nearest].groupby("key").value.mean()
    return pd.DataFrame(found)


def _bars(axes: Axes, table: pd.DataFrame, shades: statistics.Array) -> None:
    bottom = np.zeros(len(table.columns))
    for row, shade in zip(table.to_numpy(), shades, strict=True):
        axes.bar(table.columns, row, 0.7, bottom, color=shade)
        # Dark shades carry white numbers, light ones black.
        ink = "white" if shade[:3].mean() < 0.5 else "black"
        for x, (value, base) in enumerate(zip(row, bottom, strict=True)):
            if value >= 7:  # a thinner slice has no room for a number
                where = {"ha": "center", "va": "center", "fontsize": 6, "color": ink}
                axes.text(x, base + value / 2, f"{value:.0f}", where)
        bottom += row
    axes.set_ylim(0, 100)
    axes.grid(visible=False, axis="x")
