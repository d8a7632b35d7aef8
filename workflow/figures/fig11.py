"""fig11: in-context BabyAI, the second attempt at a layout against the first, task by task."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow.analysis import frames
from workflow.benchmarks.lookup import benchmark
from workflow.render import panels, style
from workflow.render.draw import Params

AGENT = "ind_actor_ind_critic"
ROW = 0.118  # inches a task
COLUMN = 25
BARS = "marks: mean over seeds"
NOTE = (
    "Return of an attempt at the last step, on unseen layouts, from the best second attempt down."
)


def render(tables: frames.Tables, params: Params) -> Figure:
    """Two marks a task, first and second attempt; training tasks left, held-out tasks right."""
    rows = attempts(frames.all_rows(tables, "evaluations"))
    if rows.empty:
        return panels.empty_figure(params)
    published = _published(tables) if params.spec.show_reference else None
    columns = _columns(rows)
    longest = max(len(subset) for _, subset in columns)
    notes = panels.run_notes(tables, NOTE + _means(rows), bars=BARS)
    entries = _entries(published is not None and bool(set(rows.task) & set(published.index)))
    figure, body = panels.new_figure(params, 0.75 + ROW * max(longest, 5), notes, entries)
    grid = body.subplots(1, len(columns), squeeze=False, sharex=True)[0]
    for axes, (split, subset) in zip(grid, columns, strict=True):
        axes.set_title("held-out tasks" if split == "test_tasks" else "training tasks")
        _column(axes, subset, rows[rows.split == split], published, longest)
    body.supxlabel("return of an attempt", fontsize=7.5)
    return figure


def attempts(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Rows (split, task, first, second) at the last step, mean over seeds, sorted by the second."""
    means = []
    for attempt, name in enumerate(("first", "second")):
        subset = frames.scores(evaluations, "attempt_return", attempt)
        subset = frames.last_steps(subset[subset.variant == AGENT])
        means.append(subset.groupby(["split", "task"]).value.mean().rename(name))
    table = pd.concat(means, axis=1).dropna().reset_index()
    return table.sort_values(["split", "second", "task"], ascending=[False, False, True])


def _columns(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Training tasks first, in columns of at most `COLUMN` tasks."""
    found = []
    for split in ("train_tasks", "test_tasks"):
        subset = rows[rows.split == split]
        found += [(split, subset.iloc[k : k + COLUMN]) for k in range(0, len(subset), COLUMN)]
    return found


def _published(tables: frames.Tables) -> pd.DataFrame:
    table = tables["reference.attempts"]
    return table.assign(task=table.task.map(benchmark("babyai").task_name)).set_index("task")


def _column(
    axes: Axes, rows: pd.DataFrame, split: pd.DataFrame, published: pd.DataFrame | None, length: int
) -> None:
    look, places = style.agent_style(AGENT), range(len(rows))
    if published is not None:
        subset = published.reindex(rows.task)
        for values, mark in (
            (subset.first_episode_return, "|"),
            (subset.second_episode_return, "x"),
        ):
            axes.plot(values, places, mark, color=style.GREY, markersize=3.5)
    axes.hlines(places, rows["first"], rows["second"], color=look.colour, linewidth=0.8)
    axes.plot(rows["first"], places, "o", color=look.colour, markerfacecolor="white", markersize=3)
    axes.plot(rows["second"], places, "o", color=look.colour, markersize=3)
    for name, dash in (("first", ":"), ("second", "--")):
        axes.axvline(split[name].mean(), color=look.colour, linestyle=dash, linewidth=0.8)
    axes.set_yticks(places, rows.task, fontsize=6)
    axes.set_ylim(length - 0.3, -0.7)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.grid(visible=False, axis="y")


def _means(rows: pd.DataFrame) -> str:
    means = rows.groupby("split")[["first", "second"]].mean()
    texts = [
        f"{'held-out' if split == 'test_tasks' else 'training'} {row['first']:.2f} and "
        f"{row['second']:.2f}"
        for split, row in means.sort_index(ascending=False).iterrows()
    ]
    return f" Lines: means of first (dotted) and second (dashed): {'; '.join(texts)}."


def _entries(published: bool) -> list[Artist]:
    colour, name = style.agent_style(AGENT).colour, style.agent_style(AGENT).label
    marks: dict[str, dict[str, object]] = {
        f"first attempt, {name}": {"marker": "o", "color": colour, "markerfacecolor": "white"},
        "second attempt": {"marker": "o", "color": colour},
        "mean of first attempts": {"linestyle": ":", "linewidth": 0.8, "color": colour},
        "mean of second attempts": {"linestyle": "--", "linewidth": 0.8, "color": colour},
    }
    if published:
        marks["published, first"] = {"marker": "|", "color": style.GREY}
        marks["published, second"] = {"marker": "x", "color": style.GREY}
    return [
        Line2D([], [], **{"linestyle": "", "markersize": 3.5, "label": label, **mark})  # type: ignore[arg-type]
        for label, mark in marks.items()
    ]
