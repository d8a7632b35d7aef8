"""scorecard: every claim's estimate and interval, where it holds, and the verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow.analysis import frames, verdicts
from workflow.render import panels, style
from workflow.render.draw import Params

ROW = 0.17  # inches a claim
# Marks differ too, so that colours need not be told apart.
LOOKS = {
    verdicts.REPRODUCED: ("#009e73", "o"),
    verdicts.NOT_REPRODUCED: ("#d55e00", "X"),
    verdicts.NOT_DECIDABLE: ("#0072b2", "D"),
    verdicts.NO_VERDICT: (style.MUTED, "."),
}
SHORT = {verdicts.NOT_DECIDABLE: "not decidable here"}
BARS = "lines: 95 % intervals (Welch's t, over seeds); arrows: beyond the axis"
FAILED = "A CONTROL FAILED: no verdict on this page can be trusted."
UNDECIDED = "A control is undecided: it needs more seeds."


def render(tables: frames.Tables, params: Params) -> Figure:
    """A row per claim: where it holds, the published value, ours, and what follows."""
    found = verdicts.judge_all(tables["claims"], tables, params.budget)
    notes = panels.run_notes(tables, *notes_on_steps(found), *notes_on_controls(found), bars=BARS)
    height = ROW * (len(found) + 1) + 0.35
    figure, body = panels.new_figure(params, height, notes, _entries())
    axes = body.subplots()
    ends = _ends(found)
    axes.set(xlim=ends, ylim=(len(found) - 0.4, -0.6))
    for place, row in enumerate(found.to_dict("records")):
        _claim(axes, place, row, ends)
    axes.set_yticks(range(len(found)), found.title, fontsize=6.2)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel("difference or level (%), or tasks solved", fontsize=7)
    axes.grid(visible=False, axis="y")
    return figure


def notes_on_steps(found: pd.DataFrame) -> list[str]:
    """At how many steps the paper's curves were read, if they were."""
    at = sorted(set(found.published_at.dropna()))
    steps = ", ".join(style.short_number(each) for each in at)
    return [f"published values and bounds are those at our runs' steps ({steps})"] if at else []


def notes_on_controls(found: pd.DataFrame) -> list[str]:
    """What the page must say of its controls."""
    outcomes = set(verdicts.outcomes_of_controls(found))
    notes = {verdicts.REPRODUCED: FAILED, verdicts.NOT_DECIDABLE: UNDECIDED}
    return [note for outcome, note in notes.items() if outcome in outcomes]


def _ends(found: pd.DataFrame) -> tuple[float, float]:
    """Of the axis, by what is claimed: an outlier of ours is drawn at the edge."""
    most = float(np.nanmax(found[["above", "below", "published"]].to_numpy(dtype=float)))
    return -0.3 * most, 1.15 * most


def _claim(axes: Axes, place: int, row: Mapping[Any, Any], ends: tuple[float, float]) -> None:
    colour, marker = LOOKS[row["verdict"]]
    least = ends[0] if pd.isna(row["above"]) else row["above"]
    most = ends[1] if pd.isna(row["below"]) else row["below"]
    axes.barh(place, most - least, 0.8, left=least, color="#eef3ee", zorder=0)
    if not pd.isna(row["published"]):
        axes.vlines(row["published"], place - 0.34, place + 0.34, color=style.GREY, linewidth=1.4)
    if not pd.isna(row["low"]):
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.2)
    if not pd.isna(row["value"]):
        inside = min(max(row["value"], ends[0]), ends[1])
        outlier = "<" if row["value"] < ends[0] else ">"
        mark = marker if inside == row["value"] else outlier
        axes.plot(inside, place, marker=mark, color=colour, markersize=4, clip_on=False)
    verdict = SHORT.get(row["verdict"], row["verdict"])
    if row["verdict"] == verdicts.NO_VERDICT:
        verdict = row["why"]
    if row["control"] and row["verdict"] == verdicts.NOT_REPRODUCED:
        verdict += " (as it must)"
    axes.annotate(
        verdict, (1.01, place), xycoords=axes.get_yaxis_transform(), fontsize=6.2, color=colour,
        va="center", annotation_clip=False,
    )  # fmt: skip


def _entries() -> list[Artist]:
    found: list[Artist] = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4, label=name)
        for name, (colour, marker) in LOOKS.items()
    ]
    found.append(Line2D([], [], color=style.GREY, linewidth=1.4, label="published"))
    return [*found, Patch(facecolor="#dfe9df", label="where the claim holds")]
