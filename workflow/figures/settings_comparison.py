"""Learning curves in percent, a panel per benchmark: agents by colour, a setting by dashes."""

from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field

from amago2.config.layers import Section
from workflow.analysis import frames, scores
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

DASHES = ("-", "--", ":", "-.")


class Options(Section):
    """Parameters of the figure."""

    by: Literal["cell", "attempt", "tasks"] = "cell"
    """What the dashes tell apart; `tasks`: those trained on and those never trained on."""
    names: dict[str, str] = Field(min_length=1, max_length=len(DASHES))
    """Cells, numbers of attempts from 0, or `trained` and `novel`, and their names, in order."""
    height: float = Field(1.9, gt=0)


def render(tables: frames.Tables, params: Params) -> Figure:
    """One panel a benchmark."""
    options: Options = params.options
    rows = scores.of_all_experiments(tables)
    if rows.empty:
        return panels.empty_figure(params)
    lines = {name: _line(tables, rows, options.by, name) for name in options.names}
    lines = {name: subset for name, subset in lines.items() if len(subset)}
    benchmarks = scores.listed_benchmarks(tables)
    notes = panels.run_notes(tables, scores.explanation(benchmarks))
    entries = [*panels.legend_entries(list(rows.variant)), *_entries(options, list(lines))]
    columns = min(2, len(benchmarks))
    height = options.height * -(-len(benchmarks) // columns)
    figure, body = panels.new_figure(params, height, notes, entries)
    grid = list(body.subplots(-(-len(benchmarks) // columns), columns, squeeze=False).flat)
    for axes, name in zip(grid, benchmarks, strict=False):
        axes.set_title(benchmark(name).title)
        subset = {label: line[line.benchmark == name] for label, line in lines.items()}
        _panel(axes, subset, list(options.names))
    for axes in grid[len(benchmarks) :]:
        axes.set_visible(False)
    body.supylabel("score (%)", fontsize=7.5)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def _line(tables: frames.Tables, rows: pd.DataFrame, by: str, name: str) -> pd.DataFrame:
    """Mean over tasks of what one kind of dashes stands for."""
    if by == "tasks":
        chosen = rows[(rows.split == scores.HELD_OUT) == (name == "novel")]
    elif by == "attempt":
        chosen = scores.on_training_tasks(scores.of_all_experiments(tables, int(name)))
    else:
        chosen = scores.on_training_tasks(rows[rows.cell == name])
    return chosen.groupby(_RUN, as_index=False).agg(value=("value", "mean"))


_RUN = ["benchmark", "variant", "cell", "seed", "step"]


def _panel(axes: Axes, lines: dict[str, pd.DataFrame], names: list[str]) -> None:
    end = max((float(rows.step.max()) for rows in lines.values() if len(rows)), default=0.0)
    if not end:
        panels.empty_panel(axes, "no finished run")
        return
    for name, rows in lines.items():
        for variant, subset in frames.groups(rows, "variant").items():
            dash = DASHES[names.index(name)]
            panels.draw_curve(axes, frames.curve(subset), variant, small=True, dash=dash)
    panels.timestep_axis(axes, "")
    panels.fit_axes(axes, end)


def _entries(options: Options, drawn: list[str]) -> list[Artist]:
    dashes = dict(zip(options.names, DASHES, strict=False))
    return [
        Line2D([], [], color=style.DARK, linestyle=dashes[name], linewidth=1, label=label)
        for name, label in options.names.items()
        if name in drawn
    ]
