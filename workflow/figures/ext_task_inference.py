"""ext_task_inference: how well a probe reads the task from the policy's memory, over a rollout."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from amago2.config.layers import Section
from workflow.analysis import frames
from workflow.benchmarks.lookup import benchmark, benchmarks
from workflow.render import panels, style
from workflow.render.draw import Params

MEMORY, INPUT = "memory", "input"
DOTTED = ":"


class Options(Section):
    """Parameters of the figure."""

    titles: dict[str, str] = {}
    """Benchmarks with another title here than in `workflow/benchmarks`."""
    splits: dict[str, str] = {"test_tasks": "held-out tasks"}
    """Evaluation sets that are named in the titles of their panels."""

    def title(self, name: str) -> str:
        """What a benchmark is called in this figure."""
        return self.titles.get(name) or benchmark(name).title


def render(tables: frames.Tables, params: Params) -> Figure:
    """A panel per benchmark and evaluation set."""
    probed = frames.all_rows(tables, "probe")
    if probed.empty:
        return panels.empty_figure(params)
    options: Options = params.options
    sets = sorted(
        set(zip(probed.benchmark, probed.split, strict=True)),
        key=lambda pair: (list(benchmarks()).index(pair[0]), pair[1]),
    )
    notes = panels.run_notes(tables, _sizes(probed, options))
    figure, body = panels.new_figure(params, 2.0, notes, _entries(list(probed.variant)))
    grid = body.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axes, (name, split) in zip(grid, sets, strict=True):
        subset = probed[(probed.benchmark == name) & (probed.split == split)]
        title, special = options.title(name), options.splits.get(split)
        axes.set_title(f"{title}, {special}" if special else title, fontsize=7.5)
        _panel(axes, subset)
    grid[0].set_ylabel("accuracy (%)")
    body.supxlabel("timesteps since the rollout began", fontsize=7.5)
    return figure


def _panel(axes: Axes, probed: pd.DataFrame) -> None:
    chance = probed.groupby("timestep").chance.mean() * 100
    axes.plot(chance.index, chance, color=style.GREY, linewidth=0.9, zorder=1)
    for variant, subset in frames.groups(probed, "variant").items():
        for source, dash in ((INPUT, DOTTED), (MEMORY, "-")):
            rows = subset[subset.source == source].assign(
                value=100 * subset.accuracy, step=subset.timestep
            )
            panels.draw_curve(axes, frames.curve(rows), variant, small=True, dash=dash)
    axes.set_xscale("symlog", base=2, linthresh=1)
    ends = sorted(set(probed.timestep))
    axes.set_xticks(ends[::2], [style.short_number(end) for end in ends[::2]])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 103)


def _sizes(probed: pd.DataFrame, options: Options) -> str:
    """A sentence on the numbers of tasks and of rollouts that the classifier is judged on."""
    counts = probed[probed.timestep == 0].groupby("benchmark")[["tasks", "rollouts"]].max()
    parts = [
        f"{options.title(str(name))}: {row.tasks} tasks, judged on {row.rollouts} rollouts"
        for name, row in counts.iterrows()
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
