"""fig07: learning from rescaled returns: scores, value classes, share the filter approves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from workflow.analysis import frames
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

II, DD = "ind_actor_ind_critic", "dep_actor_dep_critic"
CELLS = {"default": "default rewards", "rescaled": "rescaled rewards"}
DASHES = {"default": "-", "rescaled": "--"}
# Experiment, benchmark: name of the curve in the published panel, its label and dashes here. All of
# them are one agent's, so that they have one colour.
FILTERS: dict[tuple[str, str], tuple[str, str, Any]] = {
    ("procgen", "procgen_easy"): ("procgen", "", "-"),
    ("procgen", "procgen_easy_rescaled"): ("procgen_rescaled", "", "--"),
    ("ml45", "ml45"): ("metaworld", "filter, Meta-World", ":"),
    ("popgym", "popgym"): ("popgym", "filter, POPGym", "-."),
}
SERIES = {
    "dep_dep": (DD, "default"), "dep_dep_rescaled": (DD, "rescaled"),
    "ind_ind": (II, "default"), "ind_ind_rescaled": (II, "rescaled"),
}  # fmt: skip
NOTE = (
    "Score: mean over the games of an attempt's return on unseen levels, from 0 to 1 of the game's "
    "range. Classes: share of states (root scale) that have a class as the most likely one, acting "
    "discount, mean over seeds. Filter: share of replayed actions with a positive advantage, "
    "Ind. / Ind."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Three parts side by side; one whose runs are missing says so."""
    if frames.all_rows(tables, "evaluations").empty and frames.all_rows(tables, "metrics").empty:
        return panels.empty_figure(params)
    notes = panels.run_notes(tables, NOTE)
    entries = _entries(tables, params.spec.show_reference)
    figure, body = panels.new_figure(params, 2.5, notes, entries)
    parts = body.subfigures(1, 3, width_ratios=[1, 1, 1])
    shown = params.spec.show_reference
    _scores(parts[0].subplots(), tables, tables["reference.scores"] if shown else None)
    _classes(parts[1], tables)
    _filter(parts[2].subplots(), tables, tables["reference.filter"] if shown else None)
    return figure


def by_updates(rows: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows (..., run's keys, step, value) with `step` turned from environment steps to updates."""
    keys = ["benchmark", "variant", "cell", "seed"]
    counts = metrics[metrics.name == "updates"]
    parts = []
    for run, subset in rows.groupby(keys):
        known = counts[(counts[keys] == pd.Series(run, index=keys)).all(axis=1)].sort_values("step")
        if len(known):
            steps = np.interp(subset.step, [0, *known.step], [0, *known.value])
            parts.append(subset.assign(step=steps))
    return pd.concat(parts, ignore_index=True) if parts else rows.iloc[:0]


def _scores(axes: Axes, tables: frames.Tables, published: pd.DataFrame | None) -> None:
    axes.set(title="score on unseen levels", xlabel="updates")
    attempts = frames.all_rows(tables, "evaluations")
    subset = attempts[
        attempts.benchmark.str.startswith("procgen_easy") & (attempts.cell != "long_context")
    ]
    totals = frames.attempt_sums(subset)
    metrics = frames.all_rows(tables, "metrics")
    per_attempt = totals.assign(value=totals.value / 2)
    percent = normalise(per_attempt, benchmark("procgen_easy"), tables)
    shares = percent.assign(value=percent.value / 100)
    keys = ["benchmark", "variant", "cell", "seed", "step"]
    means = shares.groupby(keys, as_index=False).agg(value=("value", "mean"))
    curves = by_updates(means, metrics)
    if curves.empty:
        panels.empty_panel(axes, "no finished run\nof Procgen")
        return
    if published is not None:
        for series, rows in frames.groups(published, "series").items():
            agent, cell = SERIES[series]
            axes.plot(
                rows.gradient_steps, rows.normalized_return_per_episode, color=style.GREY,
                linestyle=DASHES[cell], linewidth=0.9, marker=style.agent_style(agent).marker,
                markersize=2.2,
            )  # fmt: skip
    for name, dash in DASHES.items():
        for variant, rows in frames.groups(curves[curves.cell == name], "variant").items():
            panels.draw_curve(axes, frames.curve(rows), variant, small=True, dash=dash)
    panels.timestep_axis(axes, "updates")
    panels.fit_axes(axes, float(curves.step.max()))


def _classes(part: SubFigure, tables: frames.Tables) -> None:
    """Heat maps of the most likely class over training, default above rescaled."""
    metrics = frames.all_rows(tables, "metrics")
    subset = metrics[(metrics.name == "bin_histogram") & (metrics.variant == II)]
    subset = subset[subset.benchmark.str.startswith("procgen_easy")]
    grid = part.subplots(2, 1, sharex=True)
    brightest = float(np.sqrt(subset.value.max())) if len(subset) else 1.0
    for axes, (cell, name) in zip(grid, CELLS.items(), strict=True):
        rows = subset[subset.cell == cell]
        axes.set_title(f"classes, {name}", fontsize=7.5)
        if rows.empty:
            panels.empty_panel(axes, "no finished run")
            continue
        heat = rows.assign(key=rows.key.astype(int)).pivot_table("value", "key", "step", "mean")
        axes.imshow(
            np.sqrt(heat.to_numpy()), origin="lower", aspect="auto", cmap="cividis", vmin=0,
            vmax=brightest, extent=(0, 100, -0.5, len(heat) - 0.5), interpolation="nearest",
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set_ylabel("class")
    grid[-1].set_xlabel("training (%)")


def _filter(axes: Axes, tables: frames.Tables, published: pd.DataFrame | None) -> None:
    axes.set(title="approved by the filter (%)", xlabel="training (%)")
    metrics = frames.all_rows(tables, "metrics")
    subset = metrics[(metrics.name == "filter_share") & (metrics.variant == II)]
    subset = subset[subset.cell != "long_context"]
    for (experiment, name), (series, _, dash) in FILTERS.items():
        stroke = {"linestyle": dash, "zorder": 2}
        if published is not None:
            curve = published[published.series == series]
            progress, share = curve.training_progress_pct, curve.actions_approved_pct
            axes.plot(progress, share, color=style.GREY, linewidth=0.9, **stroke)
        rows = subset[(subset.experiment == experiment) & (subset.benchmark == name)]
        if len(rows):
            ours = frames.curve(rows.assign(value=100 * rows.value))
            progress = 100 * ours.steps / ours.steps[-1]
            colour = style.agent_style(II).colour
            axes.plot(progress, ours.interval.value, color=colour, linewidth=1.2, **stroke)
    axes.set(xlim=(0, 100), ylim=(0, 100))


def _entries(tables: frames.Tables, published: bool) -> list[Artist]:
    """Of what is drawn: a published curve has its dashes in the legend though ours is not there."""
    metrics = frames.all_rows(tables, "metrics")
    drawn = {name for name, rows in frames.groups(metrics, "benchmark").items() if len(rows)}
    lines = panels.legend_entries(sorted(set(metrics.variant) & {II, DD}))
    lines.append(Line2D([], [], linewidth=1.2, color=style.DARK, linestyle="--", label="rescaled"))
    for (_, name), (_, label, dash) in FILTERS.items():
        if label and (published or name in drawn):
            colour = style.agent_style(II).colour
            lines.append(Line2D([], [], linewidth=1.2, color=colour, linestyle=dash, label=label))
    if published:
        lines.append(Line2D([], [], linewidth=0.9, color=style.GREY, label="published"))
    return lines
