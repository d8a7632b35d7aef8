"""Pieces that the figures share: curves, published curves, empty frames, what is on their face."""

import itertools
import json
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from workflow.analysis import frames, statistics
from workflow.analysis.frames import Curve, groups
from workflow.render import style
from workflow.render.draw import Params


def draw_curve(axes: Axes, curve: Curve, agent: str, small: bool = False, dash: str = "-") -> None:
    """A learning curve in its agent's colour, between its minimum and maximum over seeds.

    `small` panels get thinner lines, and fewer and smaller marks.
    """
    look = style.agent_style(agent)
    axes.plot(
        curve.steps, curve.interval.value, color=look.colour, marker=look.marker,
        markevery=_every(len(curve.steps), small), markersize=2.6 if small else 3.5,
        linewidth=1.0 if small else 1.3, linestyle=dash, zorder=3,
    )  # fmt: skip
    if curve.seeds > 1:
        low, high = curve.interval.low, curve.interval.high
        axes.fill_between(curve.steps, low, high, color=look.colour, alpha=0.18, linewidth=0)


def draw_published(axes: Axes, rows: pd.DataFrame, agent: str, small: bool = False) -> None:
    """A published curve: rows (timesteps, value, low, high), in grey with the agent's marker."""
    rows = rows.sort_values("timesteps")
    axes.plot(
        rows.timesteps, rows.value, color=style.GREY, marker=style.agent_style(agent).marker,
        markevery=_every(len(rows), small), markersize=2.2 if small else 3, linewidth=0.9, zorder=2,
    )  # fmt: skip
    if rows.low.notna().any():
        axes.fill_between(
            rows.timesteps, rows.low, rows.high, color=style.GREY, alpha=0.12, linewidth=0, zorder=1
        )


def _every(points: int, small: bool) -> int:
    """A mark on every how many points."""
    return max(1, points // (4 if small else 8))


def task_title(task: str, width: int = 15) -> str:
    """A task's name; one longer than `width` in two lines or three, breaks as late as they fit."""
    words = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=-)", task)
    broken = [_lines(words, places) for count in (0, 1, 2) for places in _breaks(words, count)]
    fitting = (lines for lines in broken if max(map(len, lines)) <= width)
    best = next(fitting, None) or min(broken, key=lambda lines: max(map(len, lines)))
    return "\n".join(best)


def _breaks(words: Sequence[str], count: int) -> list[tuple[int, ...]]:
    """Places for `count` breaks between words, the latest first."""
    return sorted(itertools.combinations(range(1, len(words)), count), reverse=True)


def _lines(words: Sequence[str], places: Sequence[int]) -> list[str]:
    return ["".join(words[i:j]) for i, j in itertools.pairwise((0, *places, len(words)))]


_LEVELS = {"Easy": "0", "Medium": "1", "Hard": "2"}


def by_difficulty(task: str) -> str:
    """Key that sorts tasks by name, and each from easy to hard."""
    for level, digit in _LEVELS.items():
        task = task.replace(level, digit)
    return task


def draw_bar(
    axes: Axes,
    x: float,
    seeds: statistics.Array,
    agent: str,
    width: float,
    alpha: float = 0.55,
    hatch: str = "",
) -> None:
    """An agent's bar at `x`, from the values of its seeds (S,), with a mark for each of them."""
    look, interval = style.agent_style(agent), statistics.mean_min_max(seeds)
    axes.bar(
        x, interval.value, width, color=look.colour, alpha=alpha, hatch=hatch, edgecolor="white",
        linewidth=0,
    )  # fmt: skip
    axes.plot(
        np.full(len(seeds), x), seeds, color=look.colour, marker=look.marker, markersize=2.6,
        linestyle="", clip_on=False,
    )  # fmt: skip
    axes.vlines(x, interval.low, interval.high, color=look.colour, linewidth=0.8)


def draw_published_bar(axes: Axes, x: float, value: float, width: float) -> None:
    """The published height of the bar at `x`: black, for grey would be lost on the colours."""
    ends = [x - 0.4 * width, x + 0.4 * width]
    axes.plot(ends, [value] * 2, color="black", linewidth=1.1, zorder=4)


def text_above(axes: Axes, x: float, text: str) -> None:
    """A short text above the panel at `x`: out of the way of everything drawn in it."""
    axes.annotate(
        text, (x, 1), (0, 1), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        fontsize=6, ha="center", va="bottom", color=style.MUTED, annotation_clip=False,
    )  # fmt: skip


def draw_agents(
    axes: Axes,
    rows: pd.DataFrame,
    published: pd.DataFrame | None = None,
    end: float | None = None,
    small: bool = False,
) -> None:
    """All agents' curves from rows (variant, seed, step, value), over the published ones.

    The horizontal axis ends at `end`, or with our last step.
    """
    if published is not None:
        for series, subset in groups(published.dropna(subset="timesteps"), "series").items():
            draw_published(axes, subset, series, small)
    for variant, subset in groups(rows, "variant").items():
        draw_curve(axes, frames.curve(subset), variant, small)
    timestep_axis(axes, "")
    fit_axes(axes, float(rows.step.max()) if end is None else end)


def legend_entries(agents: Sequence[str], published: Sequence[str] = ()) -> list[Artist]:
    """Legend entries: the agents in their order and, in grey, the published series."""
    ours = style.in_order(agents)
    lines: list[Artist] = [_entry(agent, style.agent_style(agent).colour) for agent in ours]
    others = [series for series in style.in_order(published) if series not in ours]
    if len(others) < len(set(published)):
        lines.append(
            Line2D([], [], **style.STROKE, color=style.GREY, label="published (same marks)")
        )
    return lines + [_entry(series, style.GREY, " (published)") for series in others]


def _entry(agent: str, colour: str, suffix: str = "") -> Line2D:
    look = style.agent_style(agent)
    label = f"{look.label}{suffix}"
    return Line2D([], [], **style.STROKE, color=colour, marker=look.marker, label=label)


def new_figure(
    params: Params,
    height: float,
    notes: Sequence[str] = (),
    entries: Sequence[Artist] = (),
) -> tuple[Figure, SubFigure]:
    """A figure with its title, badge, notes and legend, and the part of it for the panels."""
    badge = params.badge
    texts = style.FigureText(params.spec.title, badge.text, notes, entries, badge.warning)
    return style.new_figure(height, texts)


def percent_change(
    before: statistics.Array, after: statistics.Array, unit: str = "", least: float = 0
) -> str:
    """Change of the mean in percent, rounded: -13; a base of `least` or less has none."""
    if before.mean() <= least:
        return "n/a"
    percent = round(100 * float(after.mean() / before.mean() - 1))
    return (f"{percent:+d}" if percent else "0") + unit


def timestep_axis(axes: Axes, label: str = "environment steps") -> None:
    """A horizontal axis of timesteps from zero."""
    axes.xaxis.set_major_formatter(style.short_number)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)


def fit_axes(axes: Axes, end: float) -> None:
    """End the horizontal axis at `end`, and fit the vertical one to the data up to there."""
    lines = [np.asarray(line.get_xydata()) for line in axes.get_lines() if _is_data(axes, line)]
    points = [line for line in lines if line[:, 0].min() <= end]
    seen = [float(np.interp(end, *line.T)) for line in points]
    bands = [path.vertices for band in axes.collections for path in band.get_paths()]
    together = np.concatenate([*points, *map(np.asarray, bands)])
    seen += together[together[:, 0] <= end, 1].tolist()
    low, high = min(seen), max(seen)
    margin = 0.06 * (high - low) or 0.5
    axes.set_xlim(0, 1.05 * end)  # room for the last mark
    axes.set_ylim(low - margin, high + margin)


def axis_from_zero(axes: Axes, whole: bool = False) -> None:
    """A vertical axis from zero, for what cannot be less; counts have ticks at `whole` numbers."""
    top = axes.get_ylim()[1]
    axes.set_ylim(0, max(top, 1.06) if whole else top)
    if whole:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def clip_at_zero(published: pd.DataFrame | None) -> pd.DataFrame | None:
    """Published curves of what cannot be negative: readings of a plot fall short of its zero."""
    if published is None:
        return None
    columns = ["value", "low", "high"]
    return published.assign(**{name: published[name].clip(lower=0) for name in columns})


def series_before(published: pd.DataFrame | None, end: float) -> list[str]:
    """The series of published curves that begin before `end`: the others are not in the panel."""
    if published is None:
        return []
    return sorted(set(published.series[published.timesteps <= end]))


def _is_data(axes: Axes, line: Line2D) -> bool:
    """Whether a line has points: one that spans the axes has none."""
    return bool(line.get_transform() == axes.transData)


def empty_panel(axes: Axes, sentence: str) -> None:
    """An empty frame with a sentence in it: there is nothing to draw."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.text(
        0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", wrap=True,
        color=style.DARK,
    )  # fmt: skip


def empty_figure(params: Params, what: str | None = None) -> Figure:
    """The figure of experiments none of whose runs is there, or of which `what` is not."""
    figure, body = new_figure(params, 0.6)
    what = what or f"No finished run of {', '.join(params.spec.named)}"
    axes = body.subplots()
    empty_panel(axes, f"{what}\nat budget {params.budget}.")
    axes.set_axis_off()
    return figure


LINES = "line: mean, band: minimum and maximum over seeds"


def run_notes(tables: frames.Tables, *notes: str, bars: str = LINES) -> list[str]:
    """What a reader must know of the runs: seeds, what the bars are, which runs are missing."""
    runs = frames.all_rows(tables, "runs")
    finished = runs[runs.state == "finished"]
    seeds = finished.groupby(["benchmark", "variant", "cell"]).seed.nunique()
    few, many = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
    count = str(many) if few == many else f"{few} to {many}"
    sentence = f"{count} seed{'' if many == 1 else 's'}"
    bars = bars if many > 1 else "no error bars"
    notes = (*notes, describe_settings(finished), _not_run(tables))
    different = runs.drop_duplicates(["benchmark", "variant", "seed", "run"])  # experiments share
    return [f"{sentence}; {bars}. {describe_missing(different)}", *(n for n in notes if n)]


def _not_run(tables: frames.Tables) -> str:
    names = [name.removesuffix(".runs") for name in tables if name.endswith(".runs")]
    empty = [name for name in names if tables[f"{name}.runs"].empty]
    return f"Not run here: {', '.join(empty)}." if empty else ""


def describe_settings(runs: pd.DataFrame) -> str:
    """Sizes and environment settings that all runs share: what a budget made smaller shows here."""
    given = [json.loads(text) for text in sorted(set(runs.settings.dropna()))]
    parts = []
    for section in ("trajectory", "environment"):
        first, *others = [each[section] for each in given if section in each] or [{}]
        for key, value in first.items():
            if all(other.get(key) == value for other in others):
                name = "" if key == "kind" else f"{key.replace('_', ' ')} "
                parts.append(f"{name}{_brief(value)}")
    return f"Settings: {', '.join(parts)}." if parts else ""


def _brief(value: object) -> str:
    """A setting in few letters: of long lists the length only."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_brief(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        text = "/".join(map(str, value))
        return text if len(text) < 20 else f"({len(value)})"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_missing(runs: pd.DataFrame) -> str:
    """Which of the runs are not there, by benchmark if there are several, variant, cell, seed."""
    missing, total = runs[runs.state != "finished"], len(runs)
    if missing.empty:
        return f"All {total} runs are there." if total > 1 else "Its one run is there."
    keys = ["benchmark", "variant", "cell"]
    several = runs.benchmark.nunique() > 1
    parts = []
    for benchmark, variant, cell in missing[keys].drop_duplicates().itertuples(index=False):
        subset = missing[(missing[keys] == [benchmark, variant, cell]).all(axis=1)]
        where = f"{benchmark}, " if several else ""
        which = "" if cell == "default" else f" ({cell})"
        seeds = ", ".join(str(seed) for seed in sorted(subset.seed))
        parts.append(f"{where}{style.agent_style(variant).label}{which} seed {seeds}")
    return f"Missing {len(missing)} of {total} runs: {'; '.join(parts)}."
