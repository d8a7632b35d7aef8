"""Learning curves of one experiment: a panel per task, or the mean over tasks."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames, published_curves, scores
from workflow.benchmarks.lookup import benchmark, benchmarks
from workflow.render import panels, style
from workflow.render.draw import Params


class Options(Section):
    """Parameters of the figure."""

    metric: str = "return"
    attempt: int = -1
    """-1: the whole rollout."""
    split: str | None = None
    """Evaluation set; by default all of them."""
    panels: Literal["tasks", "mean"] = "tasks"
    columns: int = Field(4, gt=0)
    height: float = Field(1.0, gt=0)
    """Of a panel, in inches."""
    label: str = "return"
    marked: str | None = None
    """Evaluation set whose tasks get a star, and what that means."""
    mark_meaning: str = ""
    levels: dict[str, str] = {}
    """Published series that are one number each, and what they are called: horizontal lines."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """Rows of panels: one per cell and task, or one per cell."""
    options: Options = params.options
    evaluations = frames.all_rows(tables, "evaluations")
    found = frames.scores(evaluations, options.metric, options.attempt, options.split)
    if found.empty:
        return panels.empty_figure(params)
    if options.panels == "mean":
        found = frames.task_means(found).assign(task="mean over tasks")
    groups = {
        (cell, task): rows
        for cell, subset in frames.groups(found, "cell").items()
        for task, rows in sorted(frames.groups(subset, "task").items(), key=_difficulty)
    }
    columns = min(options.columns, len(groups))
    rows = -(-len(groups) // columns)
    published, shift = _published(tables, params, evaluations)
    entries = _entries(list(found.variant), published, options, float(found.step.max()))
    height = 0.3 + options.height * rows
    star = f"* {options.mark_meaning}." if options.mark_meaning else ""
    figure, body = panels.new_figure(params, height, panels.run_notes(tables, star, shift), entries)
    grid = body.subplots(rows, columns, squeeze=False)
    for axes, ((cell, task), group) in zip(grid.flat, groups.items(), strict=False):
        _panel(axes, group, _of_task(published, task), list(options.levels))
        name = panels.task_title(task, width=17 if columns < 5 else 14 - 2 * (columns > 5))
        star = " *" if options.marked in set(group.split) else ""
        name = name + star if cell == "default" else f"{name}{star}, {cell}"
        axes.set_title(name, fontsize=6.8 if columns < 5 else 6.2)
    for axes in grid.flat[len(groups) :]:
        axes.set_visible(False)
    body.supylabel(options.label, fontsize=7.5)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def _difficulty(item: tuple[str, pd.DataFrame]) -> str:
    return panels.by_difficulty(item[0])


def _published(
    tables: frames.Tables, params: Params, ours: pd.DataFrame
) -> tuple[pd.DataFrame | None, str]:
    """The published curves at equal steps of each task, and a note where that moves them."""
    table, note = tables.get("reference.curves"), ""
    if table is None or not params.spec.show_reference:
        return None, note
    for name in sorted(set(ours.benchmark) & set(benchmarks())):
        described = benchmark(name)
        rows = scores.on_training_tasks(ours[ours.benchmark == name])
        trained, tasks = rows.task.nunique(), described.tasks
        if trained < tasks:
            table = published_curves.at_equal_steps(table, trained, tasks)
            note = (
                f"The published curves, of {tasks} tasks together, are drawn at equal steps of "
                f"each task: {trained} are trained here."
            )
        table = table.assign(panel=table.panel.map(described.task_name))
    return table, note


def _entries(
    agents: list[str], published: pd.DataFrame | None, options: Options, end: float
) -> list[Artist]:
    if published is None:
        return panels.legend_entries(agents)
    levels = [_level(label, index) for index, label in enumerate(options.levels.values())]
    return [*panels.legend_entries(agents, panels.series_before(published, end)), *levels]


def _of_task(published: pd.DataFrame | None, task: str) -> pd.DataFrame | None:
    if published is None:
        return None
    return published[published.panel == task]


def _panel(
    axes: Axes, ours: pd.DataFrame, published: pd.DataFrame | None, levels: Sequence[str]
) -> None:
    if published is not None:
        for index, series in enumerate(levels):
            for value in published.value[published.series == series]:
                axes.add_line(_level("", index, value))
    panels.draw_agents(axes, ours, published, small=True)


def _level(label: str, index: int, value: float = 0) -> Line2D:
    """A horizontal line across the panel, dotted or dashed by its place in the list."""
    far = [0, 1e12]  # beyond any run: it sets the height of the axis, not its length
    dash = (":", "--")[index % 2]
    return Line2D(far, [value] * 2, label=label, color=style.GREY, linestyle=dash, linewidth=0.9)
