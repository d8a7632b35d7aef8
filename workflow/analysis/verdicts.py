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
   not decidable at this budget, whatever came out.
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

from workflow.analysis import scores, statistics
from workflow.analysis.frames import Tables
from workflow.analysis.normalisation import SOLVED

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_DECIDABLE = "not decidable at this budget"
NO_VERDICT = "no verdict"
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
          decides: bool) -> Judgement:  # fmt: skip
    """The finding on values over seeds, (S,) per independent group, whose means are added.

    `groups` is None without runs of every agent; `decides` says whether the budget is large enough.
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
    if not decides:
        verdict, why = NOT_DECIDABLE, "needs a larger budget"
    return Judgement(seeds, value, low, high, verdict, why)


def _verdict(low: float, high: float, above: float | None, below: float | None) -> tuple[str, str]:
    least = -np.inf if above is None else above
    most = np.inf if below is None else below
    if low > least and high < most:
        return REPRODUCED, "whole interval where the claim holds"
    if high <= least or low >= most:
        return NOT_REPRODUCED, "whole interval where it does not hold"
    return NOT_DECIDABLE, "interval on both sides of a bound"


def judge_all(claims: pd.DataFrame, tables: Tables, budget: str) -> pd.DataFrame:
    """The claims' rows with seeds, value, low, high, verdict and why."""
    found = []
    for claim in claims.to_dict("records"):
        above, below = (None if pd.isna(claim[key]) else claim[key] for key in ("above", "below"))
        decides = budget in str(claim["decided_at"]).split()
        found.append(judge(_groups(claim, tables), above, below, decides))
    together = claims.reset_index(drop=True).join(pd.DataFrame(found, columns=Judgement._fields))
    numbers = ["value", "low", "high"]
    together = together.assign(**{name: together[name].astype(float) for name in numbers})
    if (outcomes_of_controls(together) == REPRODUCED).any():
        void = (together.control == 0) & together.low.notna()
        together.loc[void, ["verdict", "why"]] = [NO_VERDICT, "a control failed"]
    return together


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
    rows = scores.final(agent["experiment"], tables, agent.get("attempt"))
    chosen = (rows.benchmark == agent["benchmark"]) & (rows.variant == agent["variant"])
    chosen &= rows.cell == agent.get("cell", "default")
    if "split" in agent:
        chosen &= rows.split == agent["split"]
    if "tasks" in agent:
        chosen &= rows.task.isin(agent["tasks"])
    seeds = rows[chosen].groupby("seed").value
    if statistic == "solved":
        return seeds.apply(lambda subset: float((subset > 100 * SOLVED - 1e-6).sum()))
    return seeds.median() if statistic == "median" else seeds.mean()
