"""fig05: Multi-Task POPGym, mean normalised return over all tasks."""

from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amago2.layers import Section
from workflow import frames, style
from workflow.figures import panels, popgym
from workflow.frames import Curve
from workflow.render import Params

BESIDE = 0.2
"""Below this share of the published range, our curves get a panel of their own."""


class Options(Section):
    """Parameters of the figure."""

    layout: Literal["auto", "overlay", "beside"] = "auto"
    """One panel, or two: one that ends where ours do, one with the whole published range."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """Mean over tasks, from 0 % (random policy) to 100 % (best single-task result)."""
    scores = frames.scores(frames.every(tables, "evaluations"))
    if scores.empty:
        return panels.empty(params)
    means = frames.task_means(popgym.normalise(scores, popgym.limits(tables)))
    curves = {name: frames.curve(rows) for name, rows in frames.groups(means, "variant").items()}
    tasks = sorted(set(scores.task))
    published = popgym.published(tables, tasks) if params.spec.show_reference else None
    ranges = _ranges(params.options.layout, curves, published)
    entries = panels.entries(list(curves), [] if published is None else list(published.series))
    facts = panels.facts(tables, _scale(len(tasks), published is not None))
    figure, body = panels.new_figure(params, 2.2, facts, entries)
    grid = body.subplots(1, len(ranges), squeeze=False)[0]
    for axes, (title, end) in zip(grid, ranges.items(), strict=True):
        _panel(axes, curves, published, end)
        axes.set_title(title)
    grid[0].set_ylabel("normalised return (%)")
    return figure


def _scale(tasks: int, published: bool) -> str:
    part = f"the {tasks} of {popgym.TASKS} tasks evaluated here"
    if published:
        part += ", the published curves too (from those of single tasks, so without bands)"
    return (
        f"Mean over {part if tasks < popgym.TASKS else f'all {tasks} tasks'}. 0 %: random policy "
        "(ours, 200 rollouts a task); 100 %: best published single-task result at 15M steps."
    )


def _ranges(
    layout: str, curves: dict[str, Curve], published: pd.DataFrame | None
) -> dict[str, float]:
    """Panels by title, with the last timestep of each."""
    ours = max(float(curve.steps[-1]) for curve in curves.values())
    if published is None:
        return {"": ours}
    whole = max(float(published.timesteps.max()), ours)
    if layout == "overlay" or (layout == "auto" and ours > BESIDE * whole):
        return {"": whole}
    return {
        f"to our last step, {style.short_number(ours)}": ours,
        f"the whole published range, {style.short_number(whole)}": whole,
    }


def _panel(
    axes: Axes, curves: dict[str, Curve], published: pd.DataFrame | None, end: float
) -> None:
    if published is not None:
        for series, rows in published.groupby("series"):
            panels.draw_published(axes, rows, str(series))
    for variant in style.in_order(list(curves)):
        panels.draw_curve(axes, curves[variant], variant)
    axes.axhline(100, color=style.DARK, linewidth=0.6, linestyle=":")
    panels.timesteps(axes)
    panels.fit(axes, end)
