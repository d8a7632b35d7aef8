"""Learning curves by a setting: one line per cell of an experiment, panels by task or agent."""

from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.render import panels, style
from workflow.render.draw import Params

_MARKS = "osv^DPX*"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1.5)), (0, (1, 1.2)))


class Panel(Section):
    """A panel: its title, and what is drawn in it; empty means all there is."""

    title: str = Field(min_length=1)
    tasks: tuple[str, ...] = ()
    """Their mean is drawn."""
    variant: str | None = None
    cells: dict[str, str] = Field(min_length=1)
    """Cells by name, in order, with the line's label."""


class Options(Section):
    """Parameters of the figure."""

    panels: tuple[Panel, ...] = Field(min_length=1)
    label: str = "return"
    metric: str = "return"
    attempt: int = -1
    split: str | None = None
    columns: int = Field(2, gt=0)
    height: float = Field(1.7, gt=0)


def render(tables: frames.Tables, params: Params) -> Figure:
    """One panel each, with a line per cell; the same label has one colour in all panels."""
    options: Options = params.options
    evaluations = frames.all_rows(tables, "evaluations")
    scores = frames.scores(evaluations, options.metric, options.attempt, options.split)
    if scores.empty:
        return panels.empty_figure(params)
    labels = list(dict.fromkeys(name for panel in options.panels for name in panel.cells.values()))
    strokes = dict(zip(labels, _strokes(len(labels)), strict=True))
    columns = min(options.columns, len(options.panels))
    rows = -(-len(options.panels) // columns)
    drawn = {panel.cells[cell] for panel in options.panels for cell in _select(scores, panel).cell}
    entries: list[Artist] = [
        Line2D([], [], label=name, **strokes[name]) for name in labels if name in drawn
    ]
    height = options.height * rows
    figure, body = panels.new_figure(params, height, panels.run_notes(tables), entries)
    grid = list(body.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, options.panels, strict=False):
        axes.set_title(panel.title)
        _panel(axes, _select(scores, panel), panel, strokes)
    for axes in grid[len(options.panels) :]:
        axes.set_visible(False)
    body.supylabel(options.label, fontsize=7.5)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def _select(scores: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    subset = scores[scores.cell.isin(list(panel.cells))]
    subset = subset[subset.task.isin(panel.tasks)] if panel.tasks else subset
    return subset if panel.variant is None else subset[subset.variant == panel.variant]


def _panel(
    axes: Axes, scores: pd.DataFrame, panel: Panel, strokes: dict[str, dict[str, Any]]
) -> None:
    if scores.empty:
        panels.empty_panel(axes, "no finished run")
        return
    means = frames.task_means(scores)
    for cell, rows in frames.groups(means, "cell").items():
        curve, stroke = frames.curve(rows), strokes[panel.cells[cell]]
        every = max(1, len(curve.steps) // 8)
        axes.plot(curve.steps, curve.interval.value, markevery=every, **stroke)
        if curve.seeds > 1:
            ends = curve.interval.low, curve.interval.high
            axes.fill_between(curve.steps, *ends, color=stroke["color"], alpha=0.15, linewidth=0)
    panels.timestep_axis(axes, "")
    panels.fit_axes(axes, float(means.step.max()))


def _strokes(count: int) -> list[dict[str, Any]]:
    """Colours of one scale, for cells are steps of one setting; marks and dashes tell them too."""
    shades = [0.9 * place / max(1, count - 1) for place in range(count)]
    return [
        {"color": colormaps["viridis"](shade), "marker": _MARKS[place % len(_MARKS)],
         "linestyle": _DASHES[place % len(_DASHES)], **style.STROKE}
        for place, shade in enumerate(shades)
    ]  # fmt: skip
