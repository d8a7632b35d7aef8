"""fig05: Multi-Task POPGym, mean normalised return over all tasks."""

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from amago2.config.layers import Section
from workflow.analysis import frames, published_curves
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

POPGYM = benchmark("popgym")
BESIDE = 0.2
"""Below this share of the published range, our curves get a panel of their own."""
LEAST = 20
"""Percent either way that are always shown: less would magnify noise."""


class Options(Section):
    """Parameters of the figure."""

    layout: Literal["auto", "overlay", "beside"] = "auto"
    """One panel, or two: one that ends where ours do, one with the whole published range."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """Mean over tasks, from 0 % (random policy) to 100 % (best single-task result)."""
    scores = frames.scores(frames.all_rows(tables, "evaluations"))
    if scores.empty:
        return panels.empty_figure(params)
    means = frames.task_means(normalise(scores, POPGYM, tables))
    tasks = sorted(set(scores.task))
    published = _published(tables, tasks) if params.spec.show_reference else None
    ranges = _ranges(params.options.layout, float(means.step.max()), published)
    entries = panels.legend_entries(
        list(means.variant), panels.series_before(published, max(ranges.values()))
    )
    notes = panels.run_notes(tables, _scale(len(tasks), published is not None))
    figure, body = panels.new_figure(params, 2.2, notes, entries)
    grid = body.subplots(1, len(ranges), squeeze=False)[0]
    for axes, (title, end) in zip(grid, ranges.items(), strict=True):
        axes.axhline(100, color=style.DARK, linewidth=0.6, linestyle=":")
        panels.draw_agents(axes, means, published, end)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -LEAST), max(high, LEAST))
        axes.set(title=title, xlabel="environment steps")
    grid[0].set_ylabel("normalised return (%)")
    return figure


def _published(tables: frames.Tables, tasks: list[str]) -> pd.DataFrame:
    curves = published_curves.popgym(tables, tasks)
    return published_curves.at_equal_steps(curves, len(tasks), POPGYM.tasks)


def _scale(tasks: int, published: bool) -> str:
    part = f"the {tasks} of {POPGYM.tasks} tasks evaluated here"
    if published:
        part += (
            ", the published curves too (from those of single tasks, so without bands), at equal "
            "steps of each task"
        )
    return (
        f"Mean over {part if tasks < POPGYM.tasks else f'all {tasks} tasks'}. 0 %: random policy "
        "(ours, 200 rollouts a task); 100 %: best published single-task result at 15M steps."
    )


def _ranges(layout: str, ours: float, published: pd.DataFrame | None) -> dict[str, float]:
    """Panels by title, with the last timestep of each; `ours` is our last."""
    if published is None:
        return {"": ours}
    whole = max(float(published.timesteps.max()), ours)
    if layout == "overlay" or (layout == "auto" and ours > BESIDE * whole):
        return {"": whole}
    return {
        f"to our last step, {style.short_number(ours)}": ours,
        f"the whole published range, {style.short_number(whole)}": whole,
    }
