"""How every figure looks, and how it is saved: the same bytes from the same numbers, anywhere."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import EngFormatter

from amago2.files import write_together

WIDTH = 5.5  # inches: the text width of the NeurIPS style, so that nothing is scaled afterwards
LEFT = 0.05 / WIDTH
TITLE_LINE, LEGEND_LINE, LINE = 0.17, 0.13, 0.115  # inches, of the title, the legend, the facts
GREY = "#8c8c8c"  # published values
DARK = "#333333"
MUTED = "#444444"
WARNING = "#b00020"


@dataclass(frozen=True)
class AgentStyle:
    """Name, colour and marker of one agent, the same in every figure."""

    label: str
    colour: str
    marker: str


# Colours of Okabe and Ito, which people with any common colour blindness tell apart.
AGENTS = {
    "ind_actor_ind_critic": AgentStyle("Ind. actor / Ind. critic", "#0072b2", "o"),
    "dep_actor_ind_critic": AgentStyle("Dep. actor / Ind. critic", "#e69f00", "s"),
    "ind_actor_dep_critic": AgentStyle("Ind. actor / Dep. critic", "#009e73", "^"),
    "dep_actor_dep_critic": AgentStyle("Dep. actor / Dep. critic", "#d55e00", "D"),
    "dep_actor_dep_critic_clipped": AgentStyle("Dep. / Dep., clipped rewards", "#56b4e9", "P"),
    "ppo_gru": AgentStyle("PPO-GRU", "#cc79a7", "v"),
    "sac": AgentStyle("SAC (single task)", "#7a6a00", "p"),
}

# Given to what is made before its figure, and so before `SETTINGS` are in force.
STROKE: dict[str, Any] = {"linewidth": 1.3, "markersize": 3.5}

SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "amago2",  # element ids: random otherwise
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "pdf.fonttype": 42,  # text stays text
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": STROKE["linewidth"],
    "lines.markersize": STROKE["markersize"],
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
}

# Dates and program names out, or no two files are alike.
_METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


def agent_style(agent: str) -> AgentStyle:
    """AgentStyle of an agent; one that is not in `AGENTS` is dark grey under its own name."""
    return AGENTS.get(agent, AgentStyle(agent.replace("_", " "), DARK, "x"))


def in_order(agents: Sequence[str]) -> list[str]:
    """Agents without repetition, the four variants first and in their fixed order."""
    known = list(AGENTS)
    return sorted(set(agents), key=lambda a: (known.index(a) if a in known else len(known), a))


@dataclass(frozen=True)
class FigureText:
    """What a figure says about itself: title and badge above it, notes below, and its legend."""

    title: str
    badge: str
    notes: Sequence[str] = ()
    entries: Sequence[Artist] = ()
    warn: bool = False


def new_figure(height: float, texts: FigureText) -> tuple[Figure, SubFigure]:
    """A figure of text width, and the part of it, `height` inches high, that is for the panels.

    Text and panels have their own room, in inches, so that they can never lie on each other. It
    looks the same whatever the user's own matplotlib settings are.
    """
    _apply_settings()
    titles = textwrap.wrap(texts.title, 50)
    notes = [line for note in texts.notes for line in _wrap(note, 6.2)]
    columns = _legend_columns([str(entry.get_label()) for entry in texts.entries])
    legend = LEGEND_LINE * -(-len(texts.entries) // columns) + 0.07 if texts.entries else 0.0
    rooms = [0.1 + TITLE_LINE * len(titles) + legend, height, 0.06 + LINE * len(notes)]
    figure = Figure(figsize=(WIDTH, sum(rooms)), layout="constrained")
    head, body, foot = figure.subfigures(3, 1, height_ratios=rooms)
    head.text(LEFT, 1 - 0.06 / rooms[0], "\n".join(titles), va="top", size=9, weight="bold")
    foot.text(LEFT, 1 - 0.02 / rooms[2], "\n".join(notes), va="top", size=6.2, color=MUTED)
    _badge(head, texts.badge, WARNING if texts.warn else DARK, 1 - 0.07 / rooms[0])
    if texts.entries:
        _legend(head, texts.entries, columns, legend / rooms[0])
    return figure, body


def _apply_settings() -> None:
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(SETTINGS)


def _width(text: str, size: float) -> float:
    """Width of a line of text in inches."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / 72


def _wrap(text: str, size: float) -> list[str]:
    """Lines that fit between the margins of a figure."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _width(longer, size) < WIDTH - 0.12:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _badge(head: SubFigure, text: str, colour: str, y: float) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "linewidth": 0.7}
    frame = {**box, "edgecolor": colour}
    head.text(1 - LEFT, y, text, ha="right", va="top", size=7, color=colour, bbox=frame)


def _legend(head: SubFigure, entries: Sequence[Artist], columns: int, y: float) -> None:
    head.legend(
        handles=list(entries), ncols=columns, loc="upper left", bbox_to_anchor=(LEFT, y),
        borderaxespad=0, borderpad=0, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip


def _legend_columns(labels: Sequence[str]) -> int:
    """As many columns as fit the width, evenly filled; 0.42 inches are for line and gap."""
    widest = 0.42 + max((_width(label, SETTINGS["legend.fontsize"]) for label in labels), default=0)
    rows = -(-len(labels) // max(1, int(WIDTH / widest)))
    return -(-len(labels) // rows) if rows else 1


def short_number(value: float, _position: object = None) -> str:
    """20000 as 20k and 1e8 as 100M, in three digits; below 1 without suffix."""
    if abs(value) < 1:
        return f"{float(f'{value:.3g}') + 0.0:g}"
    return EngFormatter(sep="")(float(f"{value:.3g}")).replace("\u2212", "-")


def _settle(figure: Figure) -> None:
    """Lay the figure out once, for all formats, at positions that are the same everywhere.

    The layout's solver adds numbers up in an order that changes from process to process, and with
    it the last digits.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = np.round(axes.get_position(original=True).bounds, 6).tolist()
        axes.set_position((x, y, width, height))
    for part in figure.findobj(SubFigure):
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
        for text in part.texts:
            x, y = text.get_position()
            text.set_position((round(x, 6), round(y, 6)))


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.pdf, .svg and .png, all or none; the same figure gives the same bytes."""
    _apply_settings()
    _settle(figure)
    drawn: dict[Path, bytes] = {}
    for ending, metadata in _METADATA.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, metadata=metadata)
        drawn[stem.with_name(f"{stem.name}.{ending}")] = buffer.getvalue()
    write_together(drawn)
    return list(drawn)
