"""fig04: Meta-World ML45, tasks solved, success rate and return of a rollout."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow.analysis import frames, published_curves
from workflow.analysis.normalisation import solved, success_rates
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

ML45 = benchmark("ml45")


class Panel(NamedTuple):
    """A panel: what the published figure calls it, its title, and how our rows become its curve."""

    published: str
    title: str
    statistic: Callable[[pd.DataFrame], pd.DataFrame]
    of_task: str
    """Statistic of single tasks in the published curves that it can be made from."""
    factor: float
    limit: Literal["none", "zero", "count"]
    """Whether it can be negative, and whether it is a whole number."""


def _solved(evaluations: pd.DataFrame) -> pd.DataFrame:
    return solved(success_rates(evaluations))


def _percent(evaluations: pd.DataFrame) -> pd.DataFrame:
    rates = frames.task_means(success_rates(evaluations))
    return rates.assign(value=100 * rates.value)


def _returns(evaluations: pd.DataFrame) -> pd.DataFrame:
    return frames.task_means(frames.scores(evaluations))


PANELS = (
    Panel("tasks_ge2_of_3_successes", "tasks solved", _solved, "", 1, "count"),
    Panel("avg_success_rate_pct", "success rate (%)", _percent, "successes", 100 / 3, "zero"),
    Panel("avg_total_return_3ep", "return of a rollout", _returns, "return", 1, "none"),
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Three panels, one line per variant, over the published curves."""
    evaluations = frames.all_rows(tables, "evaluations")
    evaluations = evaluations[evaluations.split == "train"]
    if evaluations.empty:
        return panels.empty_figure(params)
    tasks = sorted(set(evaluations.task))
    published = {}
    if params.spec.show_reference:
        published = {panel.published: _published(tables, panel, tasks) for panel in PANELS}
    notes = panels.run_notes(tables, _note(len(tasks), bool(published)))
    end = float(evaluations.step.max())
    names = [name for curves in published.values() for name in panels.series_before(curves, end)]
    entries = panels.legend_entries(list(evaluations.variant), names)
    figure, body = panels.new_figure(params, 1.9, notes, entries)
    for axes, panel in zip(body.subplots(1, len(PANELS)), PANELS, strict=True):
        curves = published.get(panel.published)
        panels.draw_agents(axes, panel.statistic(evaluations), curves, small=True)
        if panel.limit != "none":
            panels.axis_from_zero(axes, whole=panel.limit == "count")
        if published:
            _levels(axes, tables, panel.published)
        axes.yaxis.set_major_formatter(style.short_number)
        axes.set_title(panel.title)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def _published(tables: frames.Tables, panel: Panel, tasks: list[str]) -> pd.DataFrame | None:
    """As printed for all tasks; for some of them, made from single tasks' curves if possible."""
    curves = _curves(tables, panel, tasks)
    return curves if panel.limit == "none" else panels.clip_at_zero(curves)


def _curves(tables: frames.Tables, panel: Panel, tasks: list[str]) -> pd.DataFrame | None:
    if len(tasks) == ML45.tasks:
        table = tables["reference.curves"]
        return table[table.panel == panel.published]
    if not panel.of_task:
        return None
    table = tables["reference.tasks"]
    names = table.panel.map(ML45.task_name).str.split("/", expand=True)
    subset = table.assign(task=names[0], value=table.value * panel.factor)
    return published_curves.mean_over_tasks(
        subset[(names[1] == panel.of_task) & subset.task.isin(tasks)]
    )


def _note(tasks: int, published: bool) -> str:
    every = tasks == ML45.tasks
    which = f"All {tasks} tasks" if every else f"{tasks} of the {ML45.tasks} tasks"
    text = f"{which}. Solved: at least 2/3 of the attempts are successful."
    if published and not every:
        text += " Published curves of the same tasks, where they can be made from single tasks'."
    return text + (" Published curves are cut where ours end." if published else "")


def _levels(axes: Axes, tables: frames.Tables, panel: str) -> None:
    """Other methods' published scores: a line across, or a mark if our range reaches it."""
    curves, marks = tables["reference.curves"], tables["reference.marks"]
    for value in curves.value[(curves.panel == panel) & curves.timesteps.isna()].astype(float):
        axes.axhline(value, color=style.GREY, linestyle=":", linewidth=0.9)
        _label(axes, axes.get_xlim()[1], value, "RL2-PPO", "right")
    subset = marks[marks.panel == panel]
    places = zip(
        subset.timesteps.astype(float), subset.value.astype(float), subset.label, strict=True
    )
    for step, value, label in places:
        if step <= axes.get_xlim()[1]:
            axes.plot(step, value, marker="*", color=style.GREY, markersize=6)
            _label(axes, step, value, str(label), "center")


def _label(axes: Axes, x: float, y: float, text: str, align: Literal["right", "center"]) -> None:
    low, high = axes.get_ylim()
    if low <= y <= high:
        axes.annotate(
            text, (x, y), (0, 2), textcoords="offset points", fontsize=6, color=style.MUTED,
            ha=align, va="bottom",
        )  # fmt: skip
