"""Final scores in percent against a setting's value: a column per benchmark."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames, scores, statistics
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

ROWS = {
    "score": (scores.of_all_experiments, "final score (%)"),
    "gain": (scores.gain, "last minus first\nattempt (points)"),
}
BARS = "marks: mean, whiskers: minimum and maximum over seeds"


class Options(Section):
    """Parameters of the figure."""

    label: str = Field(min_length=1)
    """Of the setting."""
    series: dict[str, dict[str, str]] = Field(min_length=1, max_length=2)
    """Lines by name: the cells of each, and their place on the horizontal axis, in order."""
    rows: tuple[Literal["score", "gain"], ...] = ("score",)
    height: float = Field(1.6, gt=0)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Rows of panels: what is measured; in each, a line per agent and series."""
    options: Options = params.options
    if frames.all_rows(tables, "evaluations").empty:
        return panels.empty_figure(params)
    benchmarks = scores.listed_benchmarks(tables)
    listed = set(frames.all_rows(tables, "runs").cell)  # a budget may leave out cells of the grid
    series = {
        name: {cell: place for cell, place in cells.items() if cell in listed}
        for name, cells in options.series.items()
    }
    used = {place for cells in series.values() for place in cells.values()}
    ordered = dict.fromkeys(p for cells in options.series.values() for p in cells.values())
    places = [place for place in ordered if place in used]
    notes = panels.run_notes(tables, scores.explanation(benchmarks), bars=BARS)
    agents = list(frames.all_rows(tables, "evaluations").variant)
    entries = [*panels.legend_entries(agents), *_entries(options)]
    height = 0.2 + options.height * len(options.rows)
    figure, body = panels.new_figure(params, height, notes, entries)
    grid = body.subplots(len(options.rows), len(benchmarks), squeeze=False, sharex=True)
    for line, row in zip(grid, options.rows, strict=True):
        statistic, label = ROWS[row]
        line[0].set_ylabel(label)
        final = frames.last_steps(scores.on_training_tasks(statistic(tables)))
        for axes, name in zip(line, benchmarks, strict=True):
            _panel(axes, final[final.benchmark == name], series, places)
    for axes, name in zip(grid[0], benchmarks, strict=True):
        axes.set_title(benchmark(name).title)
    body.supxlabel(options.label, fontsize=7.5)
    return figure


def _panel(
    axes: Axes, rows: pd.DataFrame, series: dict[str, dict[str, str]], places: list[str]
) -> None:
    if rows.empty:
        panels.empty_panel(axes, "no finished run")
        return
    keys = ["variant", "cell", "seed"]
    means = rows.groupby(keys, as_index=False).agg(value=("value", "mean"))
    for index, cells in enumerate(series.values()):
        for variant, subset in frames.groups(means, "variant").items():
            drawn = {
                places.index(place): statistics.mean_min_max(subset.value[subset.cell == cell])
                for cell, place in cells.items()
                if cell in set(subset.cell)
            }
            _draw(axes, drawn, _look(variant, index))
    axes.set_xticks(range(len(places)), places, fontsize=6)
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.margins(y=0.12)


def _draw(axes: Axes, drawn: dict[int, statistics.Interval], look: dict[str, Any]) -> None:
    places = sorted(drawn)
    axes.plot(places, [float(drawn[x].value) for x in places], **look, **style.STROKE)
    low, high = (np.array([getattr(drawn[x], end) for x in places]) for end in ("low", "high"))
    axes.vlines(places, low, high, color=look["color"], linewidth=0.8)


def _look(agent: str, series: int) -> dict[str, Any]:
    """The agent's colour and marker; the second series is dashed, its marks are empty."""
    look = style.agent_style(agent)
    base = {"color": look.colour, "marker": look.marker}
    return base | ({"linestyle": "--", "markerfacecolor": "white"} if series else {})


def _entries(options: Options) -> list[Artist]:
    if len(options.series) == 1:
        return []
    marks = [_look("", index) | {"color": style.DARK, "marker": "o"} for index in (0, 1)]
    return [
        Line2D([], [], label=name, **mark, **style.STROKE)
        for name, mark in zip(options.series, marks, strict=True)
    ]
