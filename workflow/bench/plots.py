"""The plot of how costs grow, the same bytes from the same numbers."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from amago2.files import write_atomically
from workflow.bench.axes import AXES, slope
from workflow.render import style


def draw(rows: Sequence[dict[str, Any]], facts: Sequence[str]) -> Figure:
    """A panel per axis: measured costs, and the line fitted to their logarithms."""
    face = style.FigureText("Cost against size", "measured by make bench", facts)
    figure, body = style.new_figure(3.4, face)
    panels = body.subplots(2, 3).flat
    for axes, row in zip(panels, rows, strict=False):
        points = {float(size): seconds for size, seconds in row["points"].items()}
        axis, exponent = AXES[row["axis"]], slope(row["points"])
        x, y = list(points), list(points.values())
        middle = (x[0] * x[-1]) ** 0.5
        level = 1.0
        for size, seconds in points.items():
            level *= (seconds / (size / middle) ** exponent) ** (1 / len(points))
        axes.loglog(x, y, "o", color=style.AGENTS["ind_actor_ind_critic"].colour)
        axes.loglog(x, [level * (s / middle) ** exponent for s in x], color=style.GREY)
        low, high = min(y), max(y)
        if high / low < 10:  # a flat law should look flat
            axes.set_ylim((low * high) ** 0.5 / 5, (low * high) ** 0.5 * 5)
        axes.set_xlabel(axis.label)
        axes.set_ylabel(axis.cost)
        axes.set_title(f"slope {exponent:.2f}")
    for axes in list(panels)[:0] or figure.axes[len(rows) :]:
        axes.set_axis_off()
    return figure


def save(rows: Sequence[dict[str, Any]], facts: Sequence[str], path: Path) -> None:
    """Write the plot as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        style.save(draw(rows, facts), Path(folder) / "plot")
        write_atomically(path, (Path(folder) / "plot.png").read_bytes())
