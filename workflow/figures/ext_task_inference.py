"""ext_task_inference: how well the task can be read from the policy's memory, over a rollout."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.render import panels, style
from workflow.render.draw import Params

MEMORY, INPUT = "memory", "input"
DOTTED = ":"


class Options(Section):
    """Parameters of the figure."""

    names: dict[str, str] = {
        "return_scale": "return scales", "popgym": "POPGym", "ml45": "Meta-World",
        "babyai": "BabyAI",
    }  # fmt: skip
    """Benchmarks in order, and what they are called."""
    splits: dict[str, str] = {"test_tasks": "held-out tasks"}
    """Evaluation sets whose panels say so."""


def render(tables: frames.Tables, params: Params) -> Figure:
    """A panel per benchmark and evaluation set."""
    probed = frames.of_kind(tables, "probe")
    if probed.empty:
        return panels.empty_figure(params)
    order = list(params.options.names)
    sets = sorted(
        {(order.index(b), b, s) for b, s in zip(probed.benchmark, probed.split, strict=True)}
    )
    notes = panels.run_notes(tables, _sizes(probed, params.options.names))
    figure, body = panels.new_figure(params, 2.0, notes, _entries(list(probed.variant)))
    grid = body.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axes, (_, benchmark, split) in zip(grid, sets, strict=True):
        own = probed[(probed.benchmark == benchmark) & (probed.split == split)]
        special = params.options.splits.get(split)
        name = params.options.names[benchmark]
        axes.set_title(f"{name}, {special}" if special else name, fontsize=7.5)
        _panel(axes, own)
    grid[0].set_ylabel("accuracy (%)")
    body.supxlabel("timesteps since the rollout began", fontsize=7.5)
    return figure


def _panel(axes: Axes, probed: pd.DataFrame) -> None:
    chance = probed.groupby("timestep").chance.mean() * 100
    axes.plot(chance.index, chance, color=style.GREY, linewidth=0.9, zorder=1)
    for variant, own in frames.groups(probed, "variant").items():
        for source, dash in ((INPUT, DOTTED), (MEMORY, "-")):
            rows = own[own.source == source].assign(value=100 * own.accuracy, step=own.timestep)
            panels.draw_curve(axes, frames.curve(rows), variant, small=True, dash=dash)
    axes.set_xscale("symlog", base=2, linthresh=1)
    ends = sorted(set(probed.timestep))
    axes.set_xticks(ends[::2], [style.short_number(end) for end in ends[::2]])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 103)


def _sizes(probed: pd.DataFrame, names: Mapping[str, str]) -> str:
    counts = probed[probed.timestep == 0].groupby("benchmark")[["tasks", "rollouts"]].max()
    parts = [
        f"{names[str(benchmark)]}: {row.tasks} tasks, judged on {row.rollouts} rollouts"
        for benchmark, row in counts.iterrows()
    ]
    return f"{'; '.join(parts)}."


def _entries(variants: list[str]) -> list[Artist]:
    plain = {"linewidth": style.STROKE["linewidth"], "color": style.DARK}
    return [
        *panels.legend_entries(variants),
        Line2D([], [], **plain, label="from the memory"),
        Line2D([], [], **plain, linestyle=DOTTED, label="from the present timestep"),
        Line2D([], [], linewidth=0.9, color=style.GREY, label="most frequent task"),
    ]
