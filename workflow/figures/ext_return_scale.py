"""ext_return_scale, ext_ml45_rescaled: are tasks with small rewards learned beside large ones?"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.analysis.normalisation import maximum_returns
from workflow.analysis.scores import of_all_experiments, on_training_tasks
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

BARS = (
    "lines and bars: mean over seeds; bands and whiskers: minimum and maximum; "
    "marks on the bars: single seeds"
)


class Options(Section):
    """Parameters of the figure."""

    cells: dict[str, str] = {"scaled": "scaled rewards", "equal": "equal rewards"}
    """Cells of the experiment in order, and what they are called."""
    tasks: dict[str, str] = {}
    """Tasks in order, and what they are called; by the reward scale in their names if none are."""
    chance: float | None = None
    """Score of a policy that has learned nothing, as a dotted line; in percent."""
    note: str = Field(min_length=1)
    """What a score is, in a sentence or two."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """A row of learning curves per cell, a panel per task; below them the final scores as bars."""
    options: Options = params.options
    scores = on_training_tasks(of_all_experiments(tables))
    if scores.empty:
        return panels.empty_figure(params)
    cells = {cell: name for cell, name in options.cells.items() if cell in set(scores.cell)}
    notes = panels.run_notes(tables, options.note, bars=BARS)
    entries = panels.legend_entries(list(scores.variant))
    height = 1.25 * len(cells) + 1.6
    figure, body = panels.new_figure(params, height, notes, entries)
    parts = body.subfigures(2, 1, height_ratios=[1.25 * len(cells), 1.6])
    _curves(parts[0], scores, cells, options)
    _bars(parts[1], frames.last_steps(scores), cells, options)
    return figure


def _curves(
    part: SubFigure, scores: pd.DataFrame, cells: Mapping[str, str], options: Options
) -> None:
    groups = {cell: scores[scores.cell == cell] for cell in cells}
    columns = max(group.task.nunique() for group in groups.values())
    grid = part.subplots(len(cells), columns, sharey=True, squeeze=False)
    for row, (cell, group) in zip(grid, groups.items(), strict=True):
        row[0].set_ylabel(f"{cells[cell]}\nscore (%)")
        tasks = frames.groups(group, "task")
        for axes, (task, title) in zip(row, _titles(list(tasks), options).items(), strict=False):
            axes.set_title(title, fontsize=7)
            _chance(axes, options)
            for variant, subset in frames.groups(tasks[task], "variant").items():
                panels.draw_curve(axes, frames.curve(subset), variant, small=True)
            panels.timestep_axis(axes, "")
            axes.set_ylim(-4, 104)
    part.supxlabel("environment steps", fontsize=7.5)


def _bars(
    part: SubFigure, scores: pd.DataFrame, cells: Mapping[str, str], options: Options
) -> None:
    grid = part.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    grid[0].set_ylabel("final score (%)")
    for axes, (cell, name) in zip(grid, cells.items(), strict=True):
        group = scores[scores.cell == cell]
        axes.set_title(f"{name}, at the end", fontsize=7.5)
        _chance(axes, options)
        tasks = _titles(sorted(set(group.task)), options, short=True)
        variants = style.in_order(list(group.variant))
        for index, variant in enumerate(variants):
            subset = frames.groups(group[group.variant == variant], "task")
            width = 0.8 / len(variants)
            shift = (index - (len(variants) - 1) / 2) * width
            for place, task in enumerate(tasks):
                if task in subset:
                    seeds = subset[task].value.to_numpy(dtype=float)
                    panels.draw_bar(axes, place + shift, seeds, variant, width)
        axes.set_xticks(range(len(tasks)), list(tasks.values()))
        axes.set_ylim(-4, 108)


def _chance(axes: Axes, options: Options) -> None:
    if options.chance is not None:
        axes.axhline(options.chance, color=style.DARK, linewidth=0.7, linestyle=":", zorder=1)


def _titles(tasks: Sequence[str], options: Options, short: bool = False) -> dict[str, str]:
    """Tasks in order, and what they are called: by their scale, or number if all have one.

    Short ones are broken at hyphens, to stand under bars.
    """
    if options.tasks:
        named = {task: name for task, name in options.tasks.items() if task in tasks}
        return {task: name.replace("-", "-\n") if short else name for task, name in named.items()}
    largest = maximum_returns(pd.Series(tasks), benchmark("return_scale"))
    names = [f"{'' if short else 'rewards '}×{scale:g}" for scale in largest]
    if len(set(names)) < len(names):
        names = [f"task {place}" for place in range(1, len(tasks) + 1)]
    return dict(zip(tasks, names, strict=True))
