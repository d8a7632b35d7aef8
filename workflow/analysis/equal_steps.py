"""What the paper's curves say at the steps that our runs reached, in percent of each scale.

A budget that trains for fewer steps than the paper is compared with the paper's curves at equal
steps, and one that trains on some of a benchmark's tasks with the curves of these tasks, at equal
steps of each task.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow.analysis import published_curves
from workflow.analysis.frames import Tables
from workflow.benchmarks.lookup import benchmark

PROCGEN_TIMESTEPS = 275e6 / 1.8e6
"""Timesteps of a published update of Multi-Game Procgen, whose curve is against updates."""
PROCGEN_SERIES = {"ind_actor_ind_critic": "ind_ind", "dep_actor_dep_critic": "dep_dep"}


class Place(NamedTuple):
    """Where to read."""

    variant: str
    tasks: tuple[str, ...]
    """Ours."""
    statistic: str
    steps: float
    """On the curve's axis, at equal steps of each task."""


def read(agent: Mapping[str, Any], tasks: Collection[str], statistic: str, tables: Tables,
         trained: int, steps: float) -> float | None:  # fmt: skip
    """The paper's score of an agent of ours on some tasks; None if no curve has it.

    `trained` is the number of its training tasks, `steps` those of all of them together.
    """
    name = str(agent["benchmark"])
    if name not in READERS:
        return None
    share = benchmark(name).tasks / trained
    place = Place(str(agent["variant"]), tuple(sorted(tasks)), statistic, steps * share)
    return READERS[name](place, tables)


def _on(curve: pd.DataFrame, steps: float, factor: float = 1.0) -> float | None:
    """Read rows (timesteps, value) of one curve."""
    ordered = curve.dropna(subset=["timesteps", "value"]).sort_values("timesteps")
    if ordered.empty:
        return None
    return factor * float(np.interp(steps, ordered.timesteps, ordered.value))


def _over(parts: Sequence[float | None], statistic: str) -> float | None:
    """Over tasks, all of which must have been read."""
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return None
    return float(np.median(found) if statistic == "median" else np.mean(found))


def _series(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    return curves[curves.series == name]


def _by_task(curves: pd.DataFrame, place: Place, name: str, factor: float) -> float | None:
    """Of the curves of single tasks."""
    own = _series(curves, place.variant)
    own = own.assign(task=own.panel.map(benchmark(name).task_name))
    parts = [_on(own[own.task == task], place.steps, factor) for task in place.tasks]
    return _over(parts, place.statistic)


def _ml45(place: Place, tables: Tables) -> float | None:
    if len(place.tasks) < benchmark("ml45").tasks:
        return None
    counts = {"mean": "avg_success_rate_pct", "solved": "tasks_ge2_of_3_successes"}
    curves = tables["reference.ml45"]
    panel = curves[curves.panel == counts.get(place.statistic)]
    return _on(_series(panel, place.variant), place.steps)


def _popgym(place: Place, tables: Tables) -> float | None:
    given = {
        **tables,
        "reference.curves": tables["reference.popgym"],
        "reference.tasks": tables["reference.popgym_tasks"],
    }
    return _on(_series(published_curves.popgym(given, place.tasks), place.variant), place.steps)


def _procgen(ending: str) -> Callable[[Place, Tables], float | None]:
    def found(place: Place, tables: Tables) -> float | None:
        if len(place.tasks) < benchmark("procgen_easy").tasks:
            return None
        curves = tables["reference.procgen"]
        curves = curves.assign(
            timesteps=curves.gradient_steps * PROCGEN_TIMESTEPS,
            value=curves.normalized_return_per_episode,
        )
        name = PROCGEN_SERIES.get(place.variant, "") + ending
        return _on(_series(curves, name), place.steps, 100)

    return found


def _atari(place: Place, tables: Tables) -> float | None:
    """Against the timesteps of each game."""
    of_a_game = place._replace(steps=place.steps / benchmark("atari").tasks)
    return _by_task(tables["reference.atari"], of_a_game, "atari", 100)


def _babyai(place: Place, tables: Tables) -> float | None:
    """Half the return of two attempts."""
    return _by_task(tables["reference.babyai_tasks"], place, "babyai", 50)


READERS: dict[str, Callable[[Place, Tables], float | None]] = {
    "ml45": _ml45,
    "popgym": _popgym,
    "procgen_easy": _procgen(""),
    "procgen_easy_rescaled": _procgen("_rescaled"),
    "atari": _atari,
    "babyai": _babyai,
}
