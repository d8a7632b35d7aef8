"""From claims and scores to verdicts.

The rules, fixed before the runs:

1. Each seed gives one number per agent: its score's mean (or median) over tasks at the last step.
   The estimate is the sum of the agents' means over seeds, with the claim's signs. Scores of the
   same runs, such as two attempts, are first combined within each seed.
2. The interval is Welch's 95 % t interval over seeds. A seed's tasks share one policy, so they are
   no independent draws, and of three to five seeds a bootstrap over seeds covers too little.
3. *Reproduced*: the whole interval lies where the claim holds. *Not reproduced*: the whole interval
   lies where it does not. Otherwise *not decidable at this budget*: more seeds would be needed.
4. A budget that the claim does not name in `decided_at` shrinks what the claim is about too much:
   not decidable at this budget, whatever came out. One that it names, but that trains for fewer
   steps than the paper, is held against the paper's curves at equal steps: what is claimed is then
   the same share of the published effect, and where the published curves are not apart yet, nothing
   is decided.
5. Fewer than three seeds of any agent give a point, and no verdict. Without runs of every agent
   there is neither.
6. A control is made to come out as not reproduced. One that comes out as reproduced has failed and
   voids every other verdict; one that is not decidable has too few seeds, which is said, and voids
   nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workflow.analysis import equal_steps, scores, statistics
from workflow.analysis.frames import Tables
from workflow.analysis.normalisation import SOLVED
from workflow.config.budgets import PUBLISHED

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_DECIDABLE = "not decidable at this budget"
NO_VERDICT = "no verdict"
WHOLE = "whole interval where the claim holds"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NOT_DECIDABLE, NO_VERDICT)


class Judgement(NamedTuple):
    """What runs say of a claim."""

    seeds: int
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    why: str


def judge(groups: Sequence[Sequence[float]] | None, above: float | None, below: float | None,
          undecided: str = "") -> Judgement:  # fmt: skip
    """The finding on values over seeds, (S,) per independent group, whose means are added.

    `groups` is None without runs of every agent; `undecided` says why the budget decides nothing.
    """
    if groups is None:
        return Judgement(0, None, None, None, NO_VERDICT, "not run")
    seeds = min(map(len, groups))
    value = float(sum(np.mean(group) for group in groups))
    if seeds < scores.MIN_SEEDS:
        why = f"{seeds} seed{'' if seeds == 1 else 's'}, needs {scores.MIN_SEEDS}"
        return Judgement(seeds, value, None, None, NO_VERDICT, why)
    _, low, high = map(float, statistics.t_interval(groups))
    verdict, why = _verdict(low, high, above, below)
    if undecided:
        verdict, why = NOT_DECIDABLE, undecided
    return Judgement(seeds, value, low, high, verdict, why)


def _verdict(low: float, high: float, above: float | None, below: float | None) -> tuple[str, str]:
    least = -np.inf if above is None else above
    most = np.inf if below is None else below
    if low > least and high < most:
        return REPRODUCED, WHOLE
    if high <= least or low >= most:
        return NOT_REPRODUCED, "whole interval where it does not hold"
    return NOT_DECIDABLE, "interval on both sides of a bound"


class Target(NamedTuple):
    """What a claim's number is held against."""

    above: float | None
    below: float | None
    published: float | None
    published_at: float | None
    """Steps at which it was read off the paper's curves; None: the paper's final one."""
    undecided: str
    """Why the budget decides nothing; empty if it does."""


class AtEqualSteps(NamedTuple):
    """A claim's number by the paper's curves."""

    value: float
    steps: float
    """Of ours, on all training tasks together."""


def judge_all(claims: pd.DataFrame, tables: Tables, budget: str) -> pd.DataFrame:
    """The claims' rows with seeds, value, low, high, verdict and why.

    `above`, `below` and `published` are those at equal steps, where the budget has fewer steps.
    """
    targets, found = [], []
    for claim in claims.to_dict("records"):
        target = _target(claim, tables, budget)
        targets.append(target)
        groups = _groups(claim, tables)
        found.append(judge(groups, target.above, target.below, target.undecided))
    together = claims.reset_index(drop=True)
    for name in ("above", "below", "published", "published_at"):
        together[name] = [getattr(target, name) for target in targets]
    together = together.join(pd.DataFrame(found, columns=Judgement._fields))
    numbers = ["above", "below", "published", "published_at", "value", "low", "high"]
    together = together.assign(**{name: together[name].astype(float) for name in numbers})
    if (outcomes_of_controls(together) == REPRODUCED).any():
        void = (together.control == 0) & together.low.notna()
        together.loc[void, ["verdict", "why"]] = [NO_VERDICT, "a control failed"]
    return together


def _target(claim: Mapping[Any, Any], tables: Tables, budget: str) -> Target:
    above, below, published = (
        None if pd.isna(claim[key]) else float(claim[key])
        for key in ("above", "below", "published")
    )
    if budget not in str(claim["decided_at"]).split():
        return Target(above, below, published, None, "needs a larger budget")
    if published is None or budget == PUBLISHED:
        return Target(above, below, published, None, "")
    if (read := _published_at_equal_steps(claim, tables)) is None:
        return Target(above, below, published, None, "no published curve of these tasks")
    value, steps = read
    if above is not None and below is not None:  # within so much of the published number
        shift = value - published
        return Target(above + shift, below + shift, value, steps, "")
    if (share := value / published) <= 0:
        why = "the published curves are not apart at these steps"
        return Target(above, below, value, steps, why)
    above, below = (None if bound is None else bound * share for bound in (above, below))
    return Target(above, below, value, steps, "")


def _published_at_equal_steps(claim: Mapping[Any, Any], tables: Tables) -> AtEqualSteps | None:
    """None if an agent has no runs, or no published curve."""
    total, least = 0.0, np.inf
    for side, sign in (("plus", 1.0), ("minus", -1.0)):
        for agent in json.loads(str(claim[side])):
            if f"{agent['experiment']}.evaluations" not in tables:
                return None
            rows = scores.of_experiment(agent["experiment"], tables)
            of_all_splits = _of({key: agent[key] for key in agent if key != "split"}, rows)
            if of_all_splits.empty:
                return None
            steps = float(of_all_splits.groupby("seed").step.max().min())
            trained = scores.on_training_tasks(of_all_splits).task.nunique()
            tasks, statistic = set(_of(agent, rows).task), str(claim["statistic"])
            read = equal_steps.read(agent, tasks, statistic, tables, trained, steps)
            if read is None:
                return None
            total += sign * read
            least = min(least, steps)
    return AtEqualSteps(total, least)


def outcomes_of_controls(found: pd.DataFrame) -> "pd.Series[str]":
    """The verdicts of the controls that have an interval."""
    return found.verdict[(found.control == 1) & found.low.notna()]


def _groups(claim: Mapping[Any, Any], tables: Tables) -> list[list[float]] | None:
    """Signed values over seeds of each agent's runs; None if an agent has none."""
    runs: dict[tuple[str, ...], pd.Series] = {}
    for side, sign in (("plus", 1.0), ("minus", -1.0)):
        for agent in json.loads(str(claim[side])):
            subset = sign * _values(agent, str(claim["statistic"]), tables)
            keys = ("experiment", "benchmark", "variant", "cell")
            place = tuple(str(agent.get(key)) for key in keys)
            # Only seeds that have every part: the sum is empty where one is missing.
            runs[place] = runs[place] + subset if place in runs else subset
    groups = [values.dropna().sort_index().tolist() for values in runs.values()]
    return groups if all(groups) else None


def _values(agent: Mapping[str, Any], statistic: str, tables: Tables) -> "pd.Series[float]":
    """One number per seed."""
    if f"{agent['experiment']}.evaluations" not in tables:
        return pd.Series(dtype=float)
    rows = _of(agent, scores.final(agent["experiment"], tables, agent.get("attempt")))
    seeds = rows.groupby("seed").value
    if statistic == "solved":
        return seeds.apply(lambda subset: float((subset > 100 * SOLVED - 1e-6).sum()))
    return seeds.median() if statistic == "median" else seeds.mean()


def _of(agent: Mapping[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    """An agent's rows, on the tasks that its claim is about."""
    chosen = (rows.benchmark == agent["benchmark"]) & (rows.variant == agent["variant"])
    chosen &= rows.cell == agent.get("cell", "default")
    if "split" in agent:
        chosen &= rows.split == agent["split"]
    if "tasks" in agent:
        chosen &= rows.task.isin(agent["tasks"])
    return rows[chosen]
