"""fig03: squared error against two-hot cross-entropy, by relative error of the prediction."""

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.render import panels, style
from workflow.render.draw import Params

SHARES = {
    "of_curve": "loss / largest\nof its curve",
    "of_loss": "loss / largest\nof all targets",
}


class Loss(Section):
    """One loss to show: the squared error or one two-hot setting."""

    loss: Literal["mse", "two_hot"]
    low: float = 0
    high: float = 0
    bins: int = 0
    symlog: bool = True

    @property
    def label(self) -> str:
        """Title of its panel."""
        if self.loss == "mse":
            return "squared error"
        low, high = style.short_number(self.low), style.short_number(self.high)
        limits = f"±{high}" if self.high == -self.low else f"{low} to {high}"
        return f"two-hot, {self.bins} bins\n{'symlog' if self.symlog else 'linear'}, {limits}"


class Options(Section):
    """Parameters of the figure."""

    losses: tuple[Loss, ...] = Field(min_length=1)
    rows: tuple[Literal["of_curve", "of_loss"], ...] = Field(("of_curve", "of_loss"), min_length=1)
    """What the loss is divided by: the largest value of its own curve, or over all targets."""
    columns: int = Field(2, gt=0)


def render(tables: frames.Tables, params: Params) -> Figure:
    """One panel per loss and divisor, one line per target."""
    options: Options = params.options
    panels_ = [(share, loss) for share in options.rows for loss in options.losses]
    columns = min(options.columns, len(panels_))
    rows = -(-len(panels_) // columns)
    notes = ["Computed from amago2's loss functions: no training run, no seeds, no error bars."]
    targets = sorted(tables["relative_loss"].target.unique())
    figure, body = panels.new_figure(params, 0.25 + 1.2 * rows, notes, _entries(targets))
    grid = body.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (share, loss) in zip(grid.flat, panels_, strict=True):
        _panel(axes, _select(tables["relative_loss"], loss), targets, share)
        axes.set_title(loss.label, fontsize=8 if columns < 4 else 7)
    for index, share in enumerate(options.rows):
        grid[index * rows // len(options.rows), 0].set_ylabel(SHARES[share])
    body.supxlabel("relative error of the prediction (%)", fontsize=7.5)
    return figure


def _select(table: pd.DataFrame, loss: Loss) -> pd.DataFrame:
    if loss.loss == "mse":
        return table[table.loss == "mse"]
    match = (table.low == loss.low) & (table.high == loss.high) & (table.bins == loss.bins)
    return table[match & (table.symlog == loss.symlog)]


def _panel(axes: Axes, rows: pd.DataFrame, targets: Sequence[float], share: str) -> None:
    for target, stroke in zip(targets, _strokes(len(targets)), strict=True):
        line = rows[rows.target == target].sort_values("relative_error")
        axes.plot(100 * line.relative_error, line[share], **stroke)


def _strokes(count: int) -> list[dict[str, Any]]:
    """Dashes as well as colours, and thinner on top, so that curves on one another all show."""
    dashes: list[Any] = ["-", (0, (5, 1.5)), (0, (3, 1.5)), (0, (1, 1.2))]
    shades = [0.85 * (1 - index / max(1, count - 1)) for index in range(count)]
    colours = [colormaps["viridis"](shade) for shade in shades]
    return [
        {"color": colour, "linestyle": dashes[place % 4], "linewidth": 2.6 - 0.5 * place}
        for place, colour in enumerate(colours)
    ]


def _entries(targets: Sequence[float]) -> list[Line2D]:
    strokes = _strokes(len(targets))
    pairs = zip(targets, strokes, strict=True)
    return [Line2D([], [], label=f"target {target:,g}", **stroke) for target, stroke in pairs]
