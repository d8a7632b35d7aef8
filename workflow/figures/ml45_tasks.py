"""fig18 to fig24: Meta-World ML45 task by task, return and successes of a rollout."""

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

COLUMNS = 4
NOTE = "Return and number of successes over the three attempts of a rollout."


class Options(Section):
    """Parameters of the figure."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Those of this page."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """Two panels a task, one above the other; only the page's tasks that were evaluated."""
    evaluations = frames.all_rows(tables, "evaluations")
    if evaluations.empty:
        return panels.empty_figure(params)
    shown = [task for task in params.options.tasks if task in set(evaluations.task)]
    if not shown:
        return panels.empty_figure(params, "None of this page's tasks is evaluated")
    statistics = {
        "return": frames.scores(evaluations),
        "successes": frames.attempt_sums(evaluations, "success"),
    }
    reference = tables["reference.curves"] if params.spec.show_reference else None
    agents = list(statistics["return"].variant)
    drawn = [_published(reference, task, name) for task in shown for name in statistics]
    end = float(evaluations.step.max())
    entries = panels.legend_entries(
        agents, [name for subset in drawn for name in panels.series_before(subset, end)]
    )
    blocks, columns = -(-len(shown) // COLUMNS), min(COLUMNS, len(shown))
    notes = _run_notes(tables, shown, params)
    figure, body = panels.new_figure(params, 1.9 * blocks + 0.2, notes, entries)
    grid = body.subplots(2 * blocks, columns, squeeze=False)
    for place, task in enumerate(shown):
        row, column = 2 * (place // columns), place % columns
        grid[row, column].set_title(panels.task_title(task.removesuffix("-v3")), fontsize=6.5)
        for offset, (name, scores) in enumerate(statistics.items()):
            axes, published = grid[row + offset, column], _published(reference, task, name)
            panels.draw_agents(axes, scores[scores.task == task], published, small=True)
            if name == "successes":
                panels.axis_from_zero(axes, whole=True)
            axes.yaxis.set_major_formatter(style.short_number)
            if column == 0:
                axes.set_ylabel(name)
    for axes in [axes for axes in grid.flat if not axes.has_data()]:
        axes.set_visible(False)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def _published(reference: pd.DataFrame | None, task: str, name: str) -> pd.DataFrame | None:
    if reference is None:
        return None
    panels_ = reference.panel.map(benchmark("ml45").task_name)
    subset = reference[panels_ == f"{task}/{name}"]
    return panels.clip_at_zero(subset) if name == "successes" else subset


def _run_notes(tables: frames.Tables, shown: list[str], params: Params) -> list[str]:
    left = len(params.options.tasks) - len(shown)
    gone = f" {left} tasks of this page are not evaluated here." if left else ""
    cut = " Published curves are cut where ours end." if params.spec.show_reference else ""
    return panels.run_notes(tables, NOTE + cut + gone)
