"""Final scores in percent of each benchmark's own scale: what aggregates and claims are made of.

0 and 100 % are: POPGym, a random policy and the best published single-task result; ML45, no and
every attempt a success; Procgen, the ends of the game's published range; Atari, a random policy and
a person; BabyAI, nothing and the largest return; return_scale, nothing and a perfect attempt.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from workflow.analysis import frames, popgym, procgen, statistics
from workflow.analysis.frames import SCORE, Tables
from workflow.figures import fig09
from workflow.figures.ext_return_scale import of_maximum
from workflow.figures.fig04 import success_rates

ROW = [key for key in SCORE if key != "step"]
"""A score's columns, beside `value`: benchmark, variant, cell, seed, split, task."""
REFERENCES = {
    "tasks": "fig16_popgym_tasks.csv", "random": "popgym_random.csv",
    "ranges": "procgen_ranges.csv", "scores": "atari_scores.csv",
}  # fmt: skip
"""Published numbers that the scales are made of, by the name under which they are read."""

Percent = Callable[[pd.DataFrame, Tables, int | None], pd.DataFrame]


def final(experiment: str, tables: Tables, attempt: int | None = None) -> pd.DataFrame:
    """Rows (benchmark, variant, cell, seed, split, task, value in %) of each run's last step.

    `attempt` is one attempt of a rollout; None is all of them. Benchmarks without a scale have no
    rows. What an agent of another cell of Atari is called follows fig09.
    """
    evaluations = tables[f"{experiment}.evaluations"]
    found = []
    for benchmark, rows in frames.groups(evaluations, "benchmark").items():
        if benchmark in SCALES:
            found.append(frames.last(SCALES[benchmark](rows, tables, attempt)))
    if not found:
        return pd.DataFrame(columns=[*ROW, "value"])
    return pd.concat(found, ignore_index=True)[[*ROW, "value"]]


def matrix(rows: pd.DataFrame) -> statistics.Array:
    """Scores (S, T) of one agent: rows by seed, columns by task, of the tasks every seed has."""
    wide = rows.pivot(index="seed", columns="task", values="value").dropna(axis="columns")
    return wide.to_numpy(dtype=float)


def _attempts(evaluations: pd.DataFrame, attempt: int | None) -> pd.DataFrame:
    """Return of one attempt; or of a rollout over its number of attempts, made or not."""
    if attempt is not None:
        return frames.scores(evaluations, "attempt_return", attempt)
    totals = frames.over_attempts(evaluations)
    return totals.assign(value=totals.value / (1 + evaluations.attempt.max()))


def _popgym(evaluations: pd.DataFrame, tables: Tables, attempt: int | None) -> pd.DataFrame:
    """The first attempt is for exploring: the environment returns the last one's rewards alone."""
    every = frames.scores(evaluations)
    scores = every if attempt is None else _attempts(evaluations, attempt)
    return popgym.normalise(scores, popgym.limits(tables))


def _success(evaluations: pd.DataFrame, _tables: Tables, attempt: int | None) -> pd.DataFrame:
    own = evaluations if attempt is None else evaluations[evaluations.attempt == attempt]
    rates = success_rates(own)
    return rates.assign(value=100 * rates.value)


def _babyai(evaluations: pd.DataFrame, _tables: Tables, attempt: int | None) -> pd.DataFrame:
    scores = _attempts(evaluations, attempt)
    return scores.assign(value=100 * scores.value)


def _procgen(mode: str) -> Percent:
    def percent(evaluations: pd.DataFrame, tables: Tables, attempt: int | None) -> pd.DataFrame:
        scores = procgen.normalise(_attempts(evaluations, attempt), procgen.ranges(tables, mode))
        return scores.assign(value=100 * scores.value)

    return percent


def _atari(evaluations: pd.DataFrame, tables: Tables, _attempt: int | None) -> pd.DataFrame:
    ends = tables["reference.scores"].set_index("game")
    scores = fig09.normalise(frames.over_attempts(evaluations), ends)
    return scores.assign(value=100 * scores.value, benchmark="atari", cell="default")


def _return_scale(evaluations: pd.DataFrame, _tables: Tables, attempt: int | None) -> pd.DataFrame:
    return of_maximum(_attempts(evaluations, attempt))


SCALES: Mapping[str, Percent] = {
    "popgym": _popgym,
    "ml45": _success,
    "procgen_easy": _procgen("easy"),
    "procgen_easy_rescaled": _procgen("easy"),
    "procgen_memory_hard": _procgen("hard"),
    "atari": _atari,
    "atari_clipped": _atari,
    "babyai": _babyai,
    "return_scale": _return_scale,
}


def bootstrap(
    scores: statistics.Array, statistic: statistics.Statistic
) -> statistics.Interval | None:
    """95 % interval of `statistic` of scores (S, T); none of fewer than three seeds.

    Drawn by a generator of its own, so that nothing computed before can change it.
    """
    if len(scores) < LEAST_SEEDS:
        return None
    return statistics.stratified_bootstrap(scores, statistic, np.random.default_rng(0))


LEAST_SEEDS = 3
"""Of fewer seeds there are points, neither intervals nor verdicts."""
