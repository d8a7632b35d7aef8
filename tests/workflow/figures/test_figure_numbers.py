"""What the figures compute from tidy tables, against values worked out by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from amago2.errors import ConfigError
from workflow.analysis import frames, scores
from workflow.analysis.normalisation import normalise, solved, success_rates
from workflow.analysis.published_curves import at_equal_steps, mean_over_tasks
from workflow.benchmarks.lookup import benchmark
from workflow.figures import fig07, fig09, fig10, fig15, fig_retro
from workflow.render import panels

II, ID = "ind_actor_ind_critic", "ind_actor_dep_critic"


def _evaluations(rows: Sequence[tuple[object, ...]], columns: str) -> pd.DataFrame:
    defaults: dict[str, Any] = {
        "benchmark": "b", "variant": II, "cell": "default", "seed": 0, "split": "train",
        "task": "t", "attempt": -1, "step": 10, "metric": "return", "rollouts": 1,
    }  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns.split())
    return frame.assign(**{key: v for key, v in defaults.items() if key not in frame})


def test_scores_choose_metric_attempt_and_split() -> None:
    rows = [
        ("return", -1, "train", 1.0),
        ("return", -1, "eval", 2.0),
        ("attempt_return", 0, "train", 3.0),
        ("attempt_return", 1, "train", 4.0),
    ]
    frame = _evaluations(rows, "metric attempt split value")
    assert frames.scores(frame).value.tolist() == [1, 2]
    assert frames.scores(frame, split="eval").value.tolist() == [2]
    assert frames.scores(frame, "attempt_return", 1).value.tolist() == [4]


def test_a_rollout_that_was_cut_short_counts_with_the_attempts_it_had() -> None:
    # Four rollouts with 10 in the first attempt; the two that had a second one got 6 there.
    rows = [("attempt_return", 0, 10.0, 4), ("attempt_return", 1, 6.0, 2)]
    total = frames.attempt_sums(_evaluations(rows, "metric attempt value rollouts"))
    assert total.value.tolist() == [(4 * 10 + 2 * 6) / 4]


def test_last_is_each_runs_own_last_step() -> None:
    frame = _evaluations([(0, 5, 1.0), (0, 9, 2.0), (1, 5, 3.0)], "seed step value")
    assert frames.last_steps(frame).value.tolist() == [2, 3]


def test_fig04_counts_tasks_with_two_of_three_successes() -> None:
    rows = [
        ("success", "a", attempt, value)
        for attempt, value in enumerate((1.0, 1.0, 0.0))  # 2/3: solved
    ] + [("success", "b", attempt, 0.6) for attempt in range(3)]
    rates = success_rates(_evaluations(rows, "metric task attempt value"))
    assert rates.value.tolist() == pytest.approx([2 / 3, 0.6])
    assert solved(rates).value.tolist() == [1]


def test_fig07_turns_steps_into_updates() -> None:
    rows = _evaluations([(0, 1.0), (150, 2.0), (200, 3.0)], "step value")
    metrics = _evaluations([(100, 40.0), (200, 80.0)], "step value").assign(name="updates")
    assert fig07.by_updates(rows, metrics).step.tolist() == [0, 60, 80]


def test_fig07_leaves_out_runs_without_updates() -> None:
    rows = _evaluations([(0, 1.0)], "step value")
    assert fig07.by_updates(rows, rows.iloc[:0].assign(name="updates")).empty


def test_procgen_scores_are_percent_of_the_modes_range() -> None:
    columns = ["game", "mode", "low", "high"]
    ranges = [("coinrun", "easy", 5.0, 10.0), ("coinrun", "hard", 0.0, 1.0),
              ("climber", "easy", 2.0, 12.0)]  # fmt: skip
    tables = {"reference.scale_procgen_ranges": pd.DataFrame(ranges, columns=columns)}
    rows = _evaluations([("coinrun", 7.5), ("climber", 12.0)], "task value")
    assert normalise(rows, benchmark("procgen_easy"), tables).value.tolist() == [50, 100]
    with pytest.raises(ConfigError, match="no reference score for Procgen task heist"):
        normalise(rows.assign(task="heist"), benchmark("procgen_easy"), tables)


def test_atari_scores_are_of_a_person_and_steps_of_one_game() -> None:
    ends = [("Pong", -20.7, 14.6), ("Boxing", 0.1, 12.1)]
    rows = _evaluations(
        [("Pong", 14.6, "default", "atari"), ("Boxing", 0.1, "clipped", "atari_clipped")],
        "task value cell benchmark",
    ).assign(step=1000, metric="attempt_return", attempt=0)
    tables = {
        "atari.evaluations": rows,
        "reference.scale_atari_scores": pd.DataFrame(ends, columns=["game", "random", "human"]),
    }
    shares = fig09.per_game(scores.of_experiment("atari", tables))
    assert shares.value.tolist() == [1, 0]
    assert shares.step.tolist() == [500, 500]
    assert shares.variant.tolist() == [II, f"{II}_clipped"]
    assert set(shares.benchmark) == {"atari"}


def test_fig10_has_quartiles_over_tasks_of_means_over_seeds() -> None:
    values = {"a": (0.0, 2.0), "b": (2.0, 2.0), "c": (3.0, 3.0), "d": (4.0, 6.0), "e": (9.0, 11.0)}
    rows = [(t, seed, v) for t, seeds in values.items() for seed, v in enumerate(seeds)]
    over = fig10.over_tasks(_evaluations(rows, "task seed value")).iloc[0]
    assert over["mean"] == (1 + 2 + 3 + 5 + 10) / 5
    assert (over["median"], over.lower, over.upper) == (3, 2, 5)


def test_fig15_takes_the_nearest_record_of_each_stage() -> None:
    steps = [10, 20, 30, 40]
    rows = [(step, game, step / 100) for step in steps for game in ("coinrun", "climber")]
    shares = fig15.shares(_evaluations(rows, "step key value"))
    assert list(shares.loc["coinrun"]) == pytest.approx([10, 10, 20, 40])


def test_relative_gain_leaves_out_what_cannot_be_compared() -> None:
    rows = [
        ("a", II, 3.0), ("a", ID, 2.0),  # +50 %
        ("b", II, -1.0), ("b", ID, -2.0),  # less bad: +50 %
        ("c", II, 1.0), ("c", ID, 0.0),  # nothing to divide by
        ("d", II, 1.0),  # nothing to compare with
        ("e", II, 1.0), ("e", ID, 4.0),  # -75 %
    ]  # fmt: skip
    gains = fig_retro.relative_gain(_evaluations(rows, "task variant value"))
    assert list(gains.index) == ["c", "e", "a", "b"]
    assert gains.tolist()[1:] == [-0.75, 0.5, 0.5]
    assert np.isnan(gains["c"])


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ([10.0], [8.7], "-13"),
        ([2.0, 4.0], [6.0], "+100"),
        ([1.0], [1.001], "0"),
        ([0.0], [1.0], "n/a"),
        ([-1.0], [1.0], "n/a"),
    ],
)
def test_changes_are_in_percent(before: list[float], after: list[float], text: str) -> None:
    assert panels.percent_change(np.array(before), np.array(after)) == text


def test_published_curves_of_tasks_average_where_all_reach() -> None:
    rows = [("s", "a", 0, 0.0), ("s", "a", 100, 10.0), ("s", "b", 0, 2.0), ("s", "b", 50, 2.0)]
    columns = ["series", "task", "timesteps", "value"]
    mean = mean_over_tasks(pd.DataFrame(rows, columns=columns))
    assert mean.timesteps.iloc[-1] == 50
    assert mean.value.iloc[[0, -1]].tolist() == [1, 3.5]
    assert mean.low.isna().all()


def test_published_curves_move_to_equal_steps_of_each_task() -> None:
    """The published agent of 27 tasks: 2.7M steps of all are 100,000 of each, 400,000 of four."""
    published = pd.DataFrame({"timesteps": [0, 2_700_000], "value": [0.0, 9.0]})
    assert at_equal_steps(published, 4, 27).timesteps.tolist() == [0, 400_000]
    assert at_equal_steps(published, 27, 27).equals(published.assign(timesteps=[0.0, 2_700_000.0]))


def test_a_missing_run_is_named_with_its_benchmark_if_there_are_several() -> None:
    rows = [("x", "default", "missing"), ("y", "rescaled", "missing"), ("y", "default", "finished")]
    runs = _evaluations(rows, "benchmark cell state")
    assert panels.describe_missing(runs) == (
        "Missing 2 of 3 runs: x, Ind. actor / Ind. critic seed 0; "
        "y, Ind. actor / Ind. critic (rescaled) seed 0."
    )
    assert panels.describe_missing(runs.iloc[[0, 2]]).startswith("Missing 1 of 2 runs: x, ")
    assert panels.describe_missing(runs.iloc[2:]) == "Its one run is there."


def test_a_run_of_two_experiments_is_counted_once() -> None:
    row = {
        "benchmark": "b", "variant": "ind_actor_ind_critic", "cell": "default", "seed": 0,
        "run": "0000aaaa", "state": "finished", "settings": None,
    }  # fmt: skip
    tables = {
        "one.runs": pd.DataFrame([row]),
        "two.runs": pd.DataFrame([row | {"cell": "x"}, row | {"seed": 1, "run": "0000bbbb"}]),
    }
    assert panels.run_notes(tables)[0].endswith("All 2 runs are there.")


def test_counts_begin_at_zero_and_have_whole_ticks() -> None:
    axes = Figure().subplots()
    axes.plot([0, 1], [0.1, 0.3])
    panels.axis_from_zero(axes, whole=True)
    assert axes.get_ylim() == (0, 1.06)
    assert all(tick == int(tick) for tick in axes.get_yticks())


def test_only_published_curves_that_begin_in_the_panel_are_listed() -> None:
    table = pd.DataFrame({"series": ["a", "a", "b"], "timesteps": [5, 50, 20]})
    assert panels.series_before(table, 10) == ["a"]
    assert panels.series_before(None, 10) == []


def test_settings_that_all_runs_share_are_told() -> None:
    settings = (
        '{"environment": {"tasks": ["aaaaaaaaaa", "bbbbbbbbbb"], "horizon": %d},'
        ' "trajectory": {"width": 64}}'
    )
    runs = pd.DataFrame({"settings": [settings % 300, settings % 300]})
    assert panels.describe_settings(runs) == "Settings: width 64, tasks (2), horizon 300."
    runs = pd.DataFrame({"settings": [settings % 300, settings % 200]})
    assert panels.describe_settings(runs) == "Settings: width 64, tasks (2)."
    assert panels.describe_settings(pd.DataFrame({"settings": [None]})) == ""
