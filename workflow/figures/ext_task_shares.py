"""ext_task_shares: each task's share of losses and gradients: the paper's Section 3 in training."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from workflow.analysis import frames, statistics
from workflow.analysis.normalisation import maximum_returns
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

CELL = "scaled"
ROWS = {
    "task_loss_critic": "critic loss",
    "task_grad_norm_critic": "critic gradient",
    "task_loss_actor": "actor loss",
    "task_grad_norm_actor": "actor gradient",
}
"""Metrics that `amago2.training.task_shares` measures, and what they are called."""
BARS = "mean over seeds of the shares"
NOTE = (
    "Of one batch at each evaluation: the part of a loss that is of a task (its size), and "
    "the norm of that part's gradient by all parameters, each in % of the sum over tasks."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Stacked shares of the tasks over training: a row per loss or gradient, a column per agent."""
    metrics = frames.all_rows(tables, "metrics")
    rows = metrics[metrics.name.isin(ROWS) & (metrics.cell == CELL)]
    if rows.empty:
        return panels.empty_figure(params)
    largest = maximum_returns(pd.Series(sorted(set(rows.key))), benchmark("return_scale"))
    tasks = dict(zip(sorted(set(rows.key)), [f"rewards ×{x:g}" for x in largest], strict=True))
    shades = colormaps["cividis"](np.linspace(0.05, 0.95, len(tasks)))
    entries = [Patch(color=c, label=name) for c, name in zip(shades, tasks.values(), strict=True)]
    notes = panels.run_notes(tables, NOTE, bars=BARS)
    figure, body = panels.new_figure(params, 0.95 * len(ROWS) + 0.3, notes, entries)
    agents = style.in_order(list(rows.variant))
    grid = body.subplots(len(ROWS), len(agents), sharex=True, sharey=True, squeeze=False)
    for line, (name, label) in zip(grid, ROWS.items(), strict=True):
        line[0].set_ylabel(f"{label}\nshare (%)")
        for axes, agent in zip(line, agents, strict=True):
            part = rows[(rows.name == name) & (rows.variant == agent)]
            _areas(axes, shares(part).reindex(columns=list(tasks)).fillna(0), shades)
    for axes, agent in zip(grid[0], agents, strict=True):
        axes.set_title(style.agent_style(agent).label, fontsize=7.5)
    body.supxlabel("environment steps", fontsize=7.5)
    return figure


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Percent by step (rows) and task (columns), from rows (seed, step, key, value).

    The mean over seeds of each seed's shares; a step at which no task has any is left out.
    """
    sizes = rows.assign(value=rows.value.abs())
    totals = sizes.groupby(["seed", "step"]).value.transform("sum")
    sizes = sizes.assign(share=100 * sizes.value / totals)[totals > 0]
    table = sizes.groupby(["step", "key"]).share.mean().unstack()
    return table.div(table.sum(axis=1), axis=0) * 100


def _areas(axes: Axes, table: pd.DataFrame, shades: statistics.Array) -> None:
    if len(table):
        axes.stackplot(table.index, table.to_numpy().T, colors=shades, linewidth=0)
        axes.set_xlim(table.index.min(), max(table.index.max(), table.index.min() + 1))
    axes.xaxis.set_major_formatter(style.short_number)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.grid(visible=False)
