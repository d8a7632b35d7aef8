"""fig08: Procgen memory-hard, the second attempt at a level against the first."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow.analysis import frames
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

AGENT = "ind_actor_ind_critic"
WIDTH = 0.38
LEAST = 0.05
"""Of a game's range: of less, a change in percent says nothing."""
SHADES = (0.35, 0.8)
BARS = "bars: mean over seeds; whiskers: minimum and maximum"
NOTE = (
    "Return of an attempt on unseen levels at the last step, from 0 to 1 of the hard mode's range. "
    "Numbers above: change in % from the first to the second attempt; n/a: the first has 0.05 or "
    "less."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Two bars a game, first and second attempt; memory-mode games left, hard-mode games right."""
    evaluations = frames.all_rows(tables, "evaluations")
    attempts = [frames.last_steps(frames.scores(evaluations, "attempt_return", k)) for k in (0, 1)]
    if attempts[0].empty:
        return panels.empty_figure(params)
    described = benchmark("procgen_memory_hard")
    percent = [normalise(rows[rows.variant == AGENT], described, tables) for rows in attempts]
    scores = [rows.assign(value=rows.value / 100) for rows in percent]
    published = tables["reference.bars"]
    figure, body = panels.new_figure(
        params, 2.5, panels.run_notes(tables, NOTE, bars=BARS), _entries(params.spec.show_reference)
    )
    modes = {
        mode: published[published["mode"] == mode] for mode in dict.fromkeys(published["mode"])
    }
    ratios = [len(rows) for rows in modes.values()]
    grid = body.subplots(1, len(modes), sharey=True, width_ratios=ratios)
    for axes, (mode, rows) in zip(grid, modes.items(), strict=True):
        axes.set_title(f"{mode} mode", pad=11)
        _games(axes, scores, rows, params.spec.show_reference)
    grid[0].set_ylabel("normalised return")
    return figure


def _games(
    axes: Axes, scores: list[pd.DataFrame], published: pd.DataFrame, show_published: bool
) -> None:
    columns = ["first_episode_norm", "second_episode_norm_from_label"]
    values = zip(published.game, published[columns].to_numpy(dtype=float).tolist(), strict=True)
    for place, (game, printed) in enumerate(values):
        seeds = [rows.value[rows.task == game].to_numpy(dtype=float) for rows in scores]
        for index, (subset, shade, value) in enumerate(zip(seeds, SHADES, printed, strict=True)):
            x = place + (index - 0.5) * WIDTH
            if len(subset):
                panels.draw_bar(axes, x, subset, AGENT, WIDTH, alpha=shade)
            if show_published:
                panels.draw_published_bar(axes, x, value, WIDTH)
        if len(seeds[0]) and len(seeds[1]):
            panels.text_above(axes, place, panels.percent_change(seeds[0], seeds[1], least=LEAST))
    axes.set_xticks(range(len(published)), published.game, rotation=90, fontsize=6.5)
    axes.tick_params(axis="x", pad=1)


def _entries(published: bool) -> list[Patch | Line2D]:
    colour = style.agent_style(AGENT).colour
    names = ("first attempt", "second attempt")
    entries: list[Patch | Line2D] = [
        Patch(facecolor=colour, alpha=shade, label=name)
        for name, shade in zip(names, SHADES, strict=True)
    ]
    if published:
        entries.append(Line2D([], [], color="black", linewidth=1.1, label="published"))
    return entries
