"""fig06: Multi-Game Procgen, what rescaled rewards do to each game."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from workflow.analysis import frames, statistics
from workflow.render import panels, style
from workflow.render.draw import Params

GAMES = ("coinrun", "leaper", "ninja", "jumper", "climber")
AGENTS = ("dep_actor_dep_critic", "ind_actor_ind_critic")
WIDTH = 0.19
# Column of the published table, by agent and cell.
PUBLISHED = {
    ("dep_actor_dep_critic", "default"): "dep_dep",
    ("dep_actor_dep_critic", "rescaled"): "dep_dep_rescaled",
    ("ind_actor_ind_critic", "default"): "ind_ind",
    ("ind_actor_ind_critic", "rescaled"): "ind_ind_rescaled",
}
LONG = ("ind_actor_ind_critic", "long_context")
BARS = "bars: mean over seeds; whiskers: minimum and maximum"
NOTE = (
    "Return of both attempts on unseen levels at the last step, in the games' own rewards. "
    "Percentages above: change from default to rescaled rewards (coinrun ×100, climber ÷10)."
)

Scores = Mapping[tuple[str, str, str], statistics.Array]


def render(tables: frames.Tables, params: Params) -> Figure:
    """Four bars a game: two agents, default and rescaled rewards."""
    scores = frames.last_steps(frames.attempt_sums(frames.all_rows(tables, "evaluations")))
    if scores.empty:
        return panels.empty_figure(params)
    values: Scores = {
        (str(variant), str(cell), str(task)): rows.value.to_numpy(dtype=float)
        for (variant, cell, task), rows in scores.groupby(["variant", "cell", "task"])
    }
    published = tables["reference.bars"].set_index("game") if params.spec.show_reference else None
    entries = _entries(published is not None, any(key[:2] == LONG for key in values))
    notes = panels.run_notes(tables, NOTE, bars=BARS)
    figure, body = panels.new_figure(params, 2.3, notes, entries)
    axes = body.subplots()
    for place, game in enumerate(GAMES):
        _game(axes, place, game, values, published)
    axes.set_xticks(range(len(GAMES)), GAMES)
    axes.set_ylabel("return of two attempts")
    return figure


def _game(
    axes: Axes, place: int, game: str, values: Scores, published: pd.DataFrame | None
) -> None:
    for index, (agent, cell) in enumerate(PUBLISHED):
        x = place + (index - 1.5) * WIDTH
        seeds = values.get((agent, cell, game))
        if published is not None:
            value = float(published[PUBLISHED[agent, cell]][game])
            panels.draw_published_bar(axes, x, value, WIDTH)
        if seeds is None:
            continue
        panels.draw_bar(axes, x, seeds, agent, WIDTH, hatch="////" if cell == "rescaled" else "")
        before = values.get((agent, "default", game))
        if cell == "rescaled" and before is not None:
            panels.text_above(axes, x, panels.percent_change(before, seeds, " %"))
    _lines(axes, place, values.get((*LONG, game)), game, published)


def _lines(
    axes: Axes, place: int, long: statistics.Array | None, game: str, published: pd.DataFrame | None
) -> None:
    """Lines across a game's bars: ours with a long context, and the published single-task PPO."""
    ends = [place - 2 * WIDTH, place + 2 * WIDTH]
    if long is not None:
        axes.plot(ends, [long.mean()] * 2, color=style.agent_style(LONG[0]).colour, linestyle="--")
    if published is not None:
        score = float(published["single_task_ppo_reference"][game])
        axes.plot(ends, [score] * 2, color=style.DARK, linestyle=":", linewidth=0.9)


def _entries(published: bool, long: bool) -> list[Artist]:
    looks = [style.agent_style(agent) for agent in AGENTS]
    found: list[Artist] = [Patch(color=look.colour, alpha=0.55, label=look.label) for look in looks]
    label = "rescaled rewards"
    found.append(Patch(facecolor="white", edgecolor=style.DARK, hatch="////", label=label))
    if long:
        colour, label = looks[1].colour, "Ind. / Ind., context 512"
        found.append(Line2D([], [], linewidth=1.3, color=colour, linestyle="--", label=label))
    if published:
        found.append(Line2D([], [], color="black", linewidth=1.1, label="published"))
        label = "published single-task PPO"
        found.append(Line2D([], [], color=style.DARK, linewidth=0.9, linestyle=":", label=label))
    return found
