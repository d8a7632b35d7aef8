"""performance_profiles: score distributions of every benchmark, and who beats whom how often."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow.analysis import frames, statistics
from workflow.analysis import scores as final_scores
from workflow.analysis.aggregates import GROUP, group_label
from workflow.render import panels, style
from workflow.render.draw import Params

II = "ind_actor_ind_critic"
COLUMNS = 3
POINTS = 101
BARS = "bands and lines: 95 % intervals of a stratified bootstrap"
NOTE = (
    "Top: share of final scores above a threshold. Bottom: probability that Ind. / Ind. is better."
)


class Pair(NamedTuple):
    """Ind. / Ind. against another agent on one benchmark."""

    place: str
    other: str
    value: float
    interval: tuple[float, float] | None


def render(tables: frames.Tables, params: Params) -> Figure:
    """A profile per benchmark; below them the probability of improvement, a row per pair."""
    names = frames.experiments(tables, "evaluations")
    found = [final_scores.final(name, tables) for name in names]
    found = [scores for scores in found if len(scores)]
    if not found:
        return panels.empty_figure(params)
    groups = [
        (group_label(place), rows) for scores in found for place, rows in scores.groupby(GROUP)
    ]
    pairs = [pair for place, rows in groups for pair in improvements(place, rows)]
    most = max(int(rows.seed.nunique()) for _, rows in groups)
    few = most < final_scores.MIN_SEEDS
    bars = "fewer than three seeds, so no intervals" if few else BARS
    notes = panels.run_notes(tables, NOTE, bars=bars)
    entries = panels.legend_entries([variant for _, rows in groups for variant in rows.variant])
    lines = -(-len(groups) // COLUMNS)
    heights = [1.15 * lines, 0.45 + 0.13 * len(pairs)]
    figure, body = panels.new_figure(params, sum(heights), notes, entries)
    top, bottom = body.subfigures(2, 1, height_ratios=heights)
    grid = list(top.subplots(lines, COLUMNS, sharey=True, squeeze=False).flat)
    for axes, (place, rows) in zip(grid, groups, strict=False):
        axes.set_title(place, fontsize=7)
        _profile(axes, rows)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    top.supxlabel("threshold (%)", fontsize=7.5)
    top.supylabel("share of scores above it", fontsize=7.5)
    _improvements(bottom.subplots(), pairs)
    return figure


def improvements(place: str, rows: pd.DataFrame) -> Iterator[Pair]:
    """Probabilities of improvement of Ind. / Ind. over every other agent of a benchmark."""
    agents = frames.groups(rows, "variant")
    if II not in agents:
        return
    for other in style.in_order([agent for agent in agents if agent != II]):
        tasks = set(agents[II].task) & set(agents[other].task)
        ours, theirs = (
            final_scores.matrix(subset[subset.task.isin(tasks)])
            for subset in (agents[II], agents[other])
        )
        value = statistics.probability_of_improvement(ours, theirs)
        interval = final_scores.improvement(ours, theirs)
        ends = (float(interval.low), float(interval.high)) if interval else None
        yield Pair(place.replace("\n", ", "), other, value, ends)


def _profile(axes: Axes, rows: pd.DataFrame) -> None:
    low, high = float(rows.value.min()), float(rows.value.max())
    margin = 0.05 * (high - low) or 1.0
    thresholds = np.linspace(low - margin, high + margin, POINTS)
    for variant in style.in_order(list(rows.variant)):
        look = style.agent_style(variant)
        scores = final_scores.matrix(rows[rows.variant == variant])
        share = statistics.performance_profile(scores, thresholds)
        axes.plot(
            thresholds, share, color=look.colour, marker=look.marker, markevery=POINTS // 6,
            markersize=2.4, linewidth=1.0,
        )  # fmt: skip
        if len(scores) >= final_scores.MIN_SEEDS:
            band = statistics.joint_bootstrap(
                [scores],
                lambda drawn: statistics.performance_profile(drawn[0], thresholds),
                np.random.default_rng(0),
                resamples=500,
            )
            axes.fill_between(
                thresholds, band.low, band.high, color=look.colour, alpha=0.15, linewidth=0
            )
    axes.set_ylim(-0.04, 1.04)
    axes.xaxis.set_major_formatter(style.short_number)
    axes.tick_params(labelsize=6, pad=1.5)


def _improvements(axes: Axes, pairs: list[Pair]) -> None:
    if not pairs:
        panels.empty_panel(axes, "no two agents to compare")
        return
    for place, pair in enumerate(pairs):
        look = style.agent_style(pair.other)
        if pair.interval is not None:
            axes.hlines(place, *pair.interval, color=look.colour, linewidth=1.1)
        axes.plot(pair.value, place, marker=look.marker, color=look.colour, markersize=3.2)
    names = [f"{pair.place}: over {style.agent_style(pair.other).label}" for pair in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=6)
    axes.axvline(0.5, color=style.DARK, linewidth=0.7, linestyle=":", zorder=1)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(pairs) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel("probability that a run of Ind. / Ind. is better", fontsize=7.5)
