"""ext_return_scale: does an agent learn tasks with small rewards beside tasks with large ones?"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.analysis.normalisation import maximum_returns, normalise
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

CHANCE = 25.0
NOTE = "Score: return in % of a perfect attempt's. Dotted: chance, 25 %."
BARS = (
    "lines and bars: mean over seeds; bands and whiskers: minimum and maximum; "
    "marks on the bars: single seeds"
)


class Options(Section):
    """Parameters of the figure."""

    cells: dict[str, str] = {"scaled": "scaled rewards", "equal": "equal rewards"}
    """Cells of the experiment in order, and what they are called."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """A row of learning curves per cell, a panel per task; below them the final scores as bars."""
    returns = frames.scores(frames.all_rows(tables, "evaluations"))
    scores = normalise(returns, benchmark("return_scale"), tables)
    if scores.empty:
        return panels.empty_figure(params)
    cells = {cell: name for cell, name in params.options.cells.items() if cell in set(scores.cell)}
    notes = panels.run_notes(tables, NOTE, bars=BARS)
    entries = panels.legend_entries(list(scores.variant))
    height = 1.25 * len(cells) + 1.6
    figure, body = panels.new_figure(params, height, notes, entries)
    parts = body.subfigures(2, 1, height_ratios=[1.25 * len(cells), 1.6])
    _curves(parts[0], scores, cells)
    _bars(parts[1], frames.last_steps(scores), cells)
    return figure


def _curves(part: SubFigure, scores: pd.DataFrame, cells: dict[str, str]) -> None:
    groups = {cell: scores[scores.cell == cell] for cell in cells}
    columns = max(group.task.nunique() for group in groups.values())
    grid = part.subplots(len(cells), columns, sharey=True, squeeze=False)
    for row, (cell, group) in zip(grid, groups.items(), strict=True):
        row[0].set_ylabel(f"{cells[cell]}\nscore (%)")
        tasks = frames.groups(group, "task")
        titles = _names(list(tasks), "rewards ")
        for axes, title, rows in zip(row, titles, tasks.values(), strict=False):
            axes.set_title(title, fontsize=7)
            _chance(axes)
            for variant, subset in frames.groups(rows, "variant").items():
                panels.draw_curve(axes, frames.curve(subset), variant, small=True)
            panels.timestep_axis(axes, "")
            axes.set_ylim(-4, 104)
    part.supxlabel("environment steps", fontsize=7.5)


def _bars(part: SubFigure, scores: pd.DataFrame, cells: dict[str, str]) -> None:
    grid = part.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    grid[0].set_ylabel("final score (%)")
    for axes, (cell, name) in zip(grid, cells.items(), strict=True):
        group = scores[scores.cell == cell]
        axes.set_title(f"{name}, at the end", fontsize=7.5)
        _chance(axes)
        tasks, variants = sorted(set(group.task)), style.in_order(list(group.variant))
        for index, variant in enumerate(variants):
            subset = frames.groups(group[group.variant == variant], "task")
            width = 0.8 / len(variants)
            shift = (index - (len(variants) - 1) / 2) * width
            for place, task in enumerate(tasks):
                if task in subset:
                    seeds = subset[task].value.to_numpy(dtype=float)
                    panels.draw_bar(axes, place + shift, seeds, variant, width)
        axes.set_xticks(range(len(tasks)), _names(tasks))
        axes.set_ylim(-4, 108)


def _chance(axes: Axes) -> None:
    axes.axhline(CHANCE, color=style.DARK, linewidth=0.7, linestyle=":", zorder=1)


def _names(tasks: Sequence[str], prefix: str = "") -> list[str]:
    """Tasks by their reward scale, or by number where they have the same."""
    largest = maximum_returns(pd.Series(tasks), benchmark("return_scale"))
    scales = [f"{prefix}×{scale:g}" for scale in largest]
    alike = len(set(scales)) < len(scales)
    return [f"task {place}" for place in range(1, len(tasks) + 1)] if alike else scales
