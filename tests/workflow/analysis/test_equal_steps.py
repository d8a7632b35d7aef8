"""The paper's scores at the steps of our runs, as the files of `workflow/reference` have them."""

import json

import pandas as pd
import pytest

from tests.workflow.fake_results import DD, II, ROOT
from workflow.analysis import equal_steps, frames, verdicts
from workflow.analysis.frames import Tables
from workflow.benchmarks.lookup import benchmark
from workflow.config import catalog

SPEC = catalog.table(ROOT / "params", "scorecard")
CART_POLES = ["VelocityOnlyCartPoleEasy", "PositionOnlyCartPoleEasy"]


@pytest.fixture(scope="module")
def tables() -> Tables:
    sources = SPEC.sources(ROOT / "results" / "none", [])
    return {name: frames.read(name, path) for name, path in sources.items() if "reference." in name}


def read(name: str, tasks: list[str], trained: int, steps: float, tables: Tables,
         variant: str = II, statistic: str = "mean") -> float | None:  # fmt: skip
    agent = {"benchmark": name, "variant": variant}
    return equal_steps.read(agent, tasks, statistic, tables, trained, steps)


def test_all_tasks_are_read_at_our_steps(tables: Tables) -> None:
    """Meta-World at 9,999,270 steps, half way to the point before, and beyond the curve's end."""
    ml45 = [str(number) for number in range(45)]
    solved = read("ml45", ml45, 45, 9_999_270, tables, statistic="solved")
    assert solved == pytest.approx(9.991)
    half_way = (4_999_200 + 9_999_270) / 2
    between = read("ml45", ml45, 45, half_way, tables, statistic="solved")
    assert between == pytest.approx((5.991 + 9.991) / 2)
    assert read("ml45", ml45, 45, 1e9, tables) == pytest.approx(88.66)
    assert read("ml45", ml45[:9], 9, 1e6, tables) is None  # there is no curve of these


def test_updates_are_timesteps_of_procgen(tables: Tables) -> None:
    games = ["climber", "coinrun", "jumper", "ninja", "leaper"]
    steps = 600_007 * 275e6 / 1.8e6
    for name, score in (("procgen_easy", 59.74), ("procgen_easy_rescaled", 17.54)):
        assert read(name, games, 5, steps, tables) == pytest.approx(score)


def test_some_tasks_are_read_at_equal_steps_of_each(tables: Tables) -> None:
    """Two of ten games: half of our steps are each game's."""
    curves = tables["reference.atari"]
    point = curves[(curves.series == II) & (curves.panel == "Gopher")].iloc[3]
    gopher = read("atari", ["Gopher"], 1, point.timesteps, tables)
    assert gopher == pytest.approx(100 * point.value)
    boxing = read("atari", ["Boxing"], 1, point.timesteps, tables)
    assert gopher is not None
    assert boxing is not None
    for statistic in ("mean", "median"):
        steps = 2 * point.timesteps
        both = read("atari", ["Boxing", "Gopher"], 2, steps, tables, statistic=statistic)
        assert both == pytest.approx((gopher + boxing) / 2)
    assert read("atari", ["Pitfall"], 1, 1e6, tables) is None


def test_single_tasks_of_popgym_and_babyai(tables: Tables) -> None:
    """Far beyond the curves' ends: a task's last score, and half of two attempts' return."""
    few = read("popgym", CART_POLES, 2, 1e9, tables, variant=DD)
    alone = [read("popgym", [task], 1, 1e9, tables, variant=DD) for task in CART_POLES]
    assert few == pytest.approx(sum(filter(None, alone)) / 2, abs=1)
    curves = tables["reference.babyai_tasks"]
    last = curves[(curves.panel == "GoToLocal-v0") & (curves.series == DD)].sort_values("timesteps")
    found = read("babyai", ["GoToLocal"], 8, 1e9, tables, variant=DD)
    assert found == pytest.approx(50 * last.value.iloc[-1])
    assert benchmark("babyai").task_name("GoToLocal-v0") == "GoToLocal"


def made_up(steps: int, score: dict[str, float]) -> pd.DataFrame:
    """Evaluations of ML45 in which every attempt of a task fails or succeeds."""
    common = {"experiment": "ml45", "benchmark": "ml45", "cell": "default", "split": "train"}
    rows = [
        {**common, "variant": variant, "seed": seed, "run": f"{variant}{seed}", "step": steps,
         "task": f"task{number}", "metric": "success", "attempt": attempt, "rollouts": 1,
         "value": float(number < 0.45 * percent)}
        for variant, percent in score.items() for seed in range(3) for number in range(45)
        for attempt in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def judged(steps: int, budget: str, score: dict[str, float], tables: Tables) -> pd.Series:
    agent = {"experiment": "ml45", "benchmark": "ml45", "split": "train"}
    claim = {
        "claim": "c", "title": "c", "statistic": "mean", "above": 10.0, "below": None,
        "plus": json.dumps([agent | {"variant": II}]), "published": 28.0, "control": 0,
        "minus": json.dumps([agent | {"variant": DD}]), "decided_at": "day paper",
    }  # fmt: skip
    given = {**tables, "ml45.evaluations": made_up(steps, score)}
    return verdicts.judge_all(pd.DataFrame([claim]), given, budget).iloc[0]


def test_a_claim_asks_the_same_share_of_the_effect_at_fewer_steps(tables: Tables) -> None:
    """At 10M steps the paper's agents are 13 points apart, of 28 in the end: 10 become 4.7."""
    score = {II: 20.0, DD: 12.0}
    found = judged(9_999_270, "day", score, tables)
    assert found.published == pytest.approx(13.1, abs=0.6)
    assert found.above == pytest.approx(10 * found.published / 28)
    assert (found.published_at, found.verdict) == (9_999_270, verdicts.REPRODUCED)
    final = judged(9_999_270, "paper", score, tables)
    assert (final.above, final.published) == (10, 28)
    assert pd.isna(final.published_at)
    assert final.verdict == verdicts.NOT_REPRODUCED
    small = judged(9_999_270, "mini", score, tables)
    assert (small.why, small.published) == ("needs a larger budget", 28)


def test_nothing_is_decided_where_the_paper_shows_nothing(tables: Tables) -> None:
    """Of Dep./Dep. above Ind./Ind.; and of a few of ML45's tasks, of which there is no curve."""
    score = {II: 90.0, DD: 5.0}
    agent = {"experiment": "ml45", "benchmark": "ml45", "split": "train"}
    claim = {
        "claim": "c", "title": "c", "statistic": "mean", "above": 10.0, "below": None,
        "plus": json.dumps([agent | {"variant": DD}]), "published": 28.0, "control": 0,
        "minus": json.dumps([agent | {"variant": II}]), "decided_at": "day paper",
    }  # fmt: skip
    given = {**tables, "ml45.evaluations": made_up(9_999_270, score)}
    found = verdicts.judge_all(pd.DataFrame([claim]), given, "day").iloc[0]
    assert (found.above, found.verdict) == (10, verdicts.NOT_DECIDABLE)
    assert found.why == "the published curves are not apart at these steps"
    few = given["ml45.evaluations"]
    few = few[few.task.isin(["task0", "task1"])]
    other = verdicts.judge_all(pd.DataFrame([claim]), {**given, "ml45.evaluations": few}, "day")
    assert other.why.iloc[0] == "no published curve of these tasks"
