"""aggregate_scores: a row per benchmark, a column per statistic, a line per agent."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow.analysis import frames
from workflow.analysis.aggregates import GROUP, NAMES, STATISTICS, aggregates, group_label
from workflow.render import panels, style
from workflow.render.draw import Params

ROW = 0.14  # inches an agent
BARS = "lines: 95 % intervals of a stratified bootstrap; grey: minimum and maximum over seeds"
NOTE = "In % of each benchmark's own scale; optimality gap: mean shortfall below 100."


def render(tables: frames.Tables, params: Params) -> Figure:
    """Estimates and intervals side by side, benchmarks below each other."""
    rows = aggregates(tables, style.in_order)
    if rows.empty:
        return panels.empty_figure(params)
    groups = [(group_label(place), subset) for place, subset in rows.groupby(GROUP, sort=False)]
    heights = [0.2 + ROW * len(group) for _, group in groups]
    few = int(rows.seeds.max()) < 3
    bars = "fewer than three seeds, so no intervals" if few else BARS
    notes = panels.run_notes(tables, NOTE, bars=bars)
    entries = panels.legend_entries(list(rows.variant))
    figure, body = panels.new_figure(params, sum(heights) + 0.3, notes, entries)
    grid = body.subplots(len(groups), 4, squeeze=False, height_ratios=heights)
    for line, (place, group) in zip(grid, groups, strict=True):
        line[0].set_ylabel(place, rotation=0, ha="right", va="center", fontsize=6.2)
        for axes, name in zip(line, STATISTICS, strict=True):
            _statistic(axes, group, name)
    for axes, name in zip(grid[0], STATISTICS, strict=True):
        axes.set_title(f"{NAMES[name]} (%)", fontsize=7.5)
    return figure


def _statistic(axes: Axes, group: pd.DataFrame, name: str) -> None:
    for place, row in enumerate(group.to_dict("records")):
        look = style.agent_style(str(row["variant"]))
        if name == "mean" and row["seeds"] > 1:
            axes.hlines(place, row["mean_min"], row["mean_max"], color="#c4c4c4", linewidth=3)
        if not pd.isna(row[f"{name}_low"]):
            ends = row[f"{name}_low"], row[f"{name}_high"]
            axes.hlines(place, *ends, color=look.colour, linewidth=1.1)
        axes.plot(row[name], place, marker=look.marker, color=look.colour, markersize=3.2)
    axes.set(ylim=(len(group) - 0.4, -0.6), yticks=[])
    axes.margins(x=0.15)
    low, high = axes.get_xlim()
    if high - low < 1:  # agents that are all alike still get a readable axis
        axes.set_xlim(np.floor(low) - 1, np.ceil(high) + 1)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.tick_params(axis="x", labelsize=6, pad=1.5)
