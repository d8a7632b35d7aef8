"""Which scores a claim is about, how they become one number per seed, and how bounds are read."""

import json
from typing import Any

import pandas as pd
import pytest

from workflow.analysis import scores, verdicts
from workflow.analysis.scores import KEYS

AGENT: dict[str, Any] = {"experiment": "mine", "benchmark": "bench", "variant": "ours"}
TABLES = {f"{name}.evaluations": pd.DataFrame() for name in ("mine", "x")}
"""The scores themselves are those of `final_scores`."""


def score(value: float, seed: int, **other: str) -> dict[str, Any]:
    row = {"benchmark": "bench", "variant": "ours", "cell": "default", "seed": seed}
    return row | {"split": "train", "task": "a", "value": value} | other


@pytest.fixture
def final_scores(monkeypatch: pytest.MonkeyPatch) -> dict[int | None, list[dict[str, Any]]]:
    """Final scores by attempt, which a test fills in; None is all attempts together."""
    rows: dict[int | None, list[dict[str, Any]]] = {}

    def final(experiment: str, tables: Any, attempt: int | None = None) -> pd.DataFrame:
        assert tables is TABLES
        own = [row for row in rows[attempt] if row.get("experiment", "mine") == experiment]
        return pd.DataFrame(own, columns=[*KEYS, "value"])

    monkeypatch.setattr(scores, "final", final)
    return rows


def claim(statistic: str = "mean", **other: Any) -> dict[str, Any]:
    own = {"plus": [AGENT], "minus": [], "above": 0.0, "below": None} | other
    sides = {side: json.dumps(own[side]) for side in ("plus", "minus")}
    common = {"statistic": statistic, "decided_at": "mini paper", "published": None, "control": 0}
    return common | own | sides


def judged(*claims: dict[str, Any], budget: str = "mini") -> pd.DataFrame:
    # The index is not 0, 1, ...: judging must not align by it.
    frame = pd.DataFrame(claims, index=range(7, 7 + len(claims)))
    return verdicts.judge_all(frame, TABLES, budget)


def value(**of: Any) -> float:
    return float(judged(claim(**of)).value[0])


def per_seed(*values: float, **other: str) -> list[dict[str, Any]]:
    return [score(own, seed, **other) for seed, own in enumerate(values)]


@pytest.mark.parametrize(("statistic", "of_a_seed"), [("mean", 30), ("median", 20)])
def test_the_statistic_is_over_tasks_within_a_seed(
    final_scores: dict[int | None, list[dict[str, Any]]], statistic: str, of_a_seed: float
) -> None:
    values = {"a": 10.0, "b": 20.0, "c": 60.0}
    final_scores[None] = [
        score(own, seed, task=task) for seed in range(3) for task, own in values.items()
    ]
    assert value(statistic=statistic) == of_a_seed


def test_a_task_is_solved_from_two_of_three_successes_on(
    final_scores: dict[int | None, list[dict[str, Any]]],
) -> None:
    # 66.6 is under two thirds; two successes of three are not, whatever the rounding.
    values = {"a": 66.6, "b": 100 * (2 / 3), "c": 200 / 3 - 1e-9, "d": 100.0, "e": 0.0}
    final_scores[None] = [
        score(own, seed, task=task) for seed in range(3) for task, own in values.items()
    ]
    assert value(statistic="solved") == 3


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 30.0),  # both splits and both tasks of the default cell
        ({"split": "test_tasks"}, 45.0),
        ({"tasks": ["a"]}, 20.0),
        ({"split": "test_tasks", "tasks": ["a"]}, 30.0),
        ({"cell": "other"}, 900.0),
        ({"cell": "other", "split": "test_tasks", "tasks": ["a"]}, None),
        ({"variant": "theirs"}, 700.0),
        ({"benchmark": "another"}, 800.0),
    ],
)
def test_only_the_scores_that_the_claim_names_count(
    final_scores: dict[int | None, list[dict[str, Any]]],
    chosen: dict[str, Any],
    expected: float | None,
) -> None:
    final_scores[None] = [
        row
        for seed in range(3)
        for row in (
            score(10, seed),
            score(20, seed, task="b"),
            score(30, seed, split="test_tasks"),
            score(60, seed, split="test_tasks", task="b"),
            score(900, seed, cell="other"),
            score(700, seed, variant="theirs"),
            score(800, seed, benchmark="another"),
        )
    ]
    found = judged(claim(plus=[AGENT | chosen])).iloc[0]
    if expected is None:
        assert (found.seeds, found.why) == (0, "not run")
        assert pd.isna(found.value)
    else:
        assert (found.seeds, found.value) == (3, expected)


def test_attempts_of_the_same_runs_are_subtracted_within_each_seed(
    final_scores: dict[int | None, list[dict[str, Any]]],
) -> None:
    """Seeds differ by 100 and every second attempt is better by about 5: the gap is certain."""
    final_scores[0] = per_seed(10.0, 110.0, 210.0, 500.0)
    final_scores[1] = per_seed(14.0, 115.0, 216.0)  # the fourth seed lacks it: no difference
    found = judged(claim(plus=[AGENT | {"attempt": 1}], minus=[AGENT | {"attempt": 0}])).iloc[0]
    assert (found.seeds, found.value, found.verdict) == (3, 5.0, verdicts.REPRODUCED)
    # Mean 5, standard error 1 / sqrt(3), t(0.975, 2) = 4.303.
    assert (found.low, found.high) == pytest.approx((5 - 2.484, 5 + 2.484), abs=1e-3)


@pytest.mark.parametrize("differ_in", ["variant", "cell", "benchmark", "experiment"])
def test_other_agents_seeds_are_independent(
    final_scores: dict[int | None, list[dict[str, Any]]], differ_in: str
) -> None:
    """The same numbers of two agents whose seeds have nothing in common decide nothing."""
    final_scores[None] = per_seed(14.0, 115.0, 216.0) + per_seed(
        10.0, 110.0, 210.0, **{differ_in: "x"}
    )
    found = judged(claim(minus=[AGENT | {differ_in: "x"}])).iloc[0]
    assert (found.seeds, found.value, found.verdict) == (3, 5.0, verdicts.NOT_DECIDABLE)


def test_every_claim_is_judged_by_its_own_bounds(
    final_scores: dict[int | None, list[dict[str, Any]]],
) -> None:
    final_scores[None] = per_seed(9.0, 10.0, 11.0)
    bounds = [(0.0, None), (20.0, None), (None, 20.0), (None, 0.0), (0.0, 20.0), (0.0, 11.0)]
    found = judged(*(claim(above=above, below=below) for above, below in bounds))
    yes, no, neither = verdicts.REPRODUCED, verdicts.NOT_REPRODUCED, verdicts.NOT_DECIDABLE
    assert found.verdict.tolist() == [yes, no, yes, no, yes, neither]
    assert found.why[:2].tolist() == [
        "whole interval where the claim holds",
        "whole interval where it does not hold",
    ]
    assert found.why[5] == "interval on both sides of a bound"
    assert "index" not in found
    assert set(map(str, found[["value", "low", "high"]].dtypes)) == {"float64"}


def test_a_budget_that_the_claim_does_not_name_decides_nothing(
    final_scores: dict[int | None, list[dict[str, Any]]],
) -> None:
    final_scores[None] = per_seed(9.0, 10.0, 11.0)
    assert judged(claim(), budget="paper").verdict[0] == verdicts.REPRODUCED
    for budget in ("pap", "smoke", "mini paper"):  # a word of the list, not a part of its text
        assert judged(claim(), budget=budget).verdict[0] == verdicts.NOT_DECIDABLE


@pytest.mark.parametrize(("seeds", "words"), [(1, "1 seed, needs 3"), (2, "2 seeds, needs 3")])
def test_too_few_seeds_are_counted_in_the_reason(
    final_scores: dict[int | None, list[dict[str, Any]]], seeds: int, words: str
) -> None:
    final_scores[None] = per_seed(*[10.0] * seeds)
    found = judged(claim()).iloc[0]
    assert (found.seeds, found.value, found.why) == (seeds, 10.0, words)
    assert pd.isna(found.low)


@pytest.mark.parametrize(
    ("above", "below", "verdict"),
    [
        (None, 10.0, verdicts.NOT_REPRODUCED),
        (10.0, None, verdicts.NOT_REPRODUCED),
        (9.0, 10.0, verdicts.NOT_REPRODUCED),
        (9.0, 11.0, verdicts.REPRODUCED),
    ],
)
def test_a_bound_itself_is_outside(above: float | None, below: float | None, verdict: str) -> None:
    found = verdicts.judge([[10.0] * 3], above, below)
    assert (found.low, found.high, found.verdict) == (10.0, 10.0, verdict)


def test_without_the_experiments_table_nothing_was_run() -> None:
    found = verdicts.judge_all(pd.DataFrame([claim()]), {}, "mini").iloc[0]
    assert (found.seeds, found.verdict, found.why) == (0, verdicts.NO_VERDICT, "not run")
