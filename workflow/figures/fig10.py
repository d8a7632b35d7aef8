"""fig10: Multi-Task BabyAI, return over two attempts on seen and on held-out tasks."""

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow.analysis import frames
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

# Evaluation set: name of the published panel, title.
PANELS = {
    "train_tasks": ("train_tasks_test_variants", "training tasks, unseen layouts"),
    "test_tasks": ("test_tasks", "held-out tasks"),
}
BABYAI = benchmark("babyai")
BARS = "each task's mean over seeds"


def render(tables: frames.Tables, params: Params) -> Figure:
    """Mean, median and quartiles over tasks, one panel per set of tasks."""
    scores = frames.scores(frames.all_rows(tables, "evaluations"))
    if scores.empty:
        return panels.empty_figure(params)
    published = tables["reference.curves"] if params.spec.show_reference else None
    counts = {split: scores.task[scores.split == split].nunique() for split in PANELS}
    medians = scores.step.nunique() > 1 and max(counts.values()) > 2
    note = _note(counts, published is not None, medians)
    names = panels.series_before(published, float(scores.step.max()))
    entries = panels.legend_entries(list(scores.variant), names)
    if medians:
        entries.append(_median())
    figure, body = panels.new_figure(
        params, 2.1, panels.run_notes(tables, note, bars=BARS), entries
    )
    for axes, (split, (panel, title)) in zip(body.subplots(1, 2), PANELS.items(), strict=True):
        axes.set_title(title)
        subset = scores[scores.split == split]
        curves = None if published is None else published[published.panel == panel]
        _panel(axes, subset, curves, medians)
    body.supylabel("return of two attempts", fontsize=7.5)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def over_tasks(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows (step, mean, median, lower, upper) over tasks, of each task's mean over seeds."""
    tasks = scores.groupby(["step", "task"], as_index=False).agg(value=("value", "mean"))
    return tasks.groupby("step", as_index=False).agg(
        mean=("value", "mean"),
        median=("value", "median"),
        lower=("value", lambda v: np.quantile(v, 0.25)),
        upper=("value", lambda v: np.quantile(v, 0.75)),
    )


def _panel(axes: Axes, scores: pd.DataFrame, published: pd.DataFrame | None, medians: bool) -> None:
    if scores.empty:
        panels.empty_panel(axes, "not evaluated")
        return
    if published is not None:
        for series, rows in frames.groups(published, "series").items():
            panels.draw_published(axes, rows, series)
    for variant, rows in frames.groups(scores, "variant").items():
        look, over = style.agent_style(variant), over_tasks(rows)
        every = max(1, len(over) // 8)
        axes.plot(over.step, over["mean"], color=look.colour, marker=look.marker, markevery=every)
        if medians:
            axes.plot(over.step, over["median"], color=look.colour, linestyle="--", linewidth=1)
        axes.fill_between(
            over.step, over.lower, over.upper, color=look.colour, alpha=0.15, linewidth=0
        )
    panels.timestep_axis(axes, "")
    panels.fit_axes(axes, float(scores.step.max()))


def _note(counts: dict[str, int], published: bool, medians: bool) -> str:
    """Where medians are not drawn, a line has one point, or of two tasks the median is the mean."""
    trained, held_out = counts["train_tasks"], counts["test_tasks"]
    tasks = (
        f"Tasks: {trained} of {BABYAI.tasks} training, "
        f"{held_out} of {BABYAI.held_out_tasks} held-out."
    )
    median = "dashed: median, " if medians else ""
    text = f"{tasks} Line: mean over tasks, {median}band: quartiles."
    return f"{text} Published: means over all tasks, cut where ours end." if published else text


def _median() -> Artist:
    label = "median over tasks"
    return Line2D([], [], color=style.DARK, linestyle="--", linewidth=1, label=label)
