"""ext_single_task: the agent of many tasks beside agents of each task alone."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.render import panels, style
from workflow.render.draw import Params

SINGLE_TASK_DASH = "--"


class Options(Section):
    """Parameters of the figure."""

    all_tasks_cell: str = "all_tasks"
    """Cell of the agents of all tasks; in the others each agent has one task."""
    split: str = "train"
    """Evaluation set of the tasks that are trained on."""
    columns: int = 3


def render(tables: frames.Tables, params: Params) -> Figure:
    """A panel per task that an agent of its own was to learn."""
    scores = frames.scores(frames.all_rows(tables, "evaluations"), split=params.options.split)
    single = scores[scores.cell != params.options.all_tasks_cell]
    if single.empty:
        return panels.empty_figure(params, "No finished run of ext_single_task on a single task")
    scores = per_task(scores)
    scores = scores[scores.task.isin(single.task)]
    tasks = frames.groups(scores, "task")
    columns = min(params.options.columns, len(tasks))
    rows = -(-len(tasks) // columns)
    notes = panels.run_notes(
        tables, "Steps of the agents of all tasks are divided by their number."
    )
    entries = _entries(scores, params.options.all_tasks_cell)
    figure, body = panels.new_figure(params, 0.25 + 1.45 * rows, notes, entries)
    grid = body.subplots(rows, columns, squeeze=False)
    for axes, (task, group) in zip(grid.flat, tasks.items(), strict=False):
        axes.set_title(panels.task_title(task, width=22), fontsize=7.5)
        for (cell, variant), subset in group.groupby(["cell", "variant"]):
            single = cell != params.options.all_tasks_cell
            dash = SINGLE_TASK_DASH if single else "-"
            panels.draw_curve(axes, frames.curve(subset), str(variant), small=True, dash=dash)
            if single:
                axes.get_lines()[-1].set_markerfacecolor("white")
        _logarithmic(axes)
    for axes in grid.flat[len(tasks) :]:
        axes.set_visible(False)
    body.supylabel("return", fontsize=7.5)
    body.supxlabel("environment steps of this task", fontsize=7.5)
    return figure


def per_task(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with `step` as each task's even share of the run's; those before any step are out."""
    run = ["benchmark", "variant", "cell", "seed"]
    tasks = scores.groupby(run).task.transform("nunique")
    shared = scores.assign(step=(scores.step / tasks).round().astype(int))
    return shared[shared.step > 0]


def _entries(scores: pd.DataFrame, all_tasks_cell: str) -> list[Artist]:
    """The agents of all tasks, then those of one."""
    found: list[Artist] = []
    for single in (False, True):
        chosen = scores[(scores.cell != all_tasks_cell) == single]
        for variant in style.in_order(list(chosen.variant)):
            look = style.agent_style(variant)
            what = "this task alone" if single else "all tasks"
            label = look.label if variant == "sac" else f"{look.label}, {what}"
            line = Line2D(
                [], [], **style.STROKE, color=look.colour, marker=look.marker,
                linestyle=SINGLE_TASK_DASH if single else "-", label=label,
                markerfacecolor="white" if single else look.colour,
            )  # fmt: skip
            found.append(line)
    return found


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(style.short_number)
    axes.xaxis.set_minor_formatter(NullFormatter())
