"""Statistics against values worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from workflow.analysis import statistics

RLIABLE = json.loads(Path(__file__).with_name("rliable_points.json").read_text())
SCORES = np.array([[1.0, 10.0, 3.0, 4.0], [2.0, 30.0, 5.0, 4.0]])  # 2 seeds, 4 tasks


def test_normalise() -> None:
    percent = statistics.normalise([[0.5, -1.0]], zero=[0.0, -0.5], full=[1.0, 0.5])
    assert percent.tolist() == [[50.0, -50.0]]
    assert statistics.normalise([7.0], zero=[2.0], full=[12.0]).tolist() == [50.0]


def test_normalise_needs_two_ends() -> None:
    with pytest.raises(ValueError, match="cannot be normalised"):
        statistics.normalise([1.0], [0.5], [0.5])


def test_mean_min_max_over_seeds() -> None:
    value, low, high = statistics.mean_min_max(SCORES)
    assert value.tolist() == [1.5, 20.0, 4.0, 4.0]
    assert low.tolist() == [1.0, 10.0, 3.0, 4.0]
    assert high.tolist() == [2.0, 30.0, 5.0, 4.0]


def test_median_is_over_tasks_of_means_over_seeds() -> None:
    assert statistics.median(SCORES) == 4.0  # of 1.5, 20, 4, 4


def test_interquartile_mean_cuts_a_quarter_at_each_end() -> None:
    # 1 2 | 3 4 4 5 | 10 30
    assert statistics.interquartile_mean(SCORES) == 4.0
    # Of 5 scores floor(5 / 4) = 1 is cut at each end.
    assert statistics.interquartile_mean([100.0, 1.0, 2.0, 3.0, -7.0]) == 2.0


def test_optimality_gap_counts_only_shortfall() -> None:
    assert statistics.optimality_gap([[90.0, 150.0]]) == 5.0


def test_performance_profile() -> None:
    assert statistics.performance_profile(SCORES, [0, 3.5, 30]).tolist() == [1.0, 5 / 8, 0.0]


def test_probability_of_improvement_counts_ties_half() -> None:
    ours, theirs = [[1.0, 5.0], [3.0, 5.0]], [[2.0, 5.0]]
    assert statistics.probability_of_improvement(ours, theirs) == (0.5 + 0.5) / 2
    assert statistics.probability_of_improvement(theirs, [[1.0, 1.0]]) == 1.0


def test_bootstrap_repeats_from_its_generator_and_contains_the_estimate() -> None:
    first, again = (
        statistics.stratified_bootstrap(SCORES, statistics.mean, np.random.default_rng(1))
        for _ in range(2)
    )
    assert first == again
    assert first.value == pytest.approx(7.375)
    assert first.low <= first.value <= first.high


def test_bootstrap_keeps_tasks_apart() -> None:
    # Seeds that agree leave nothing to draw, however much the tasks differ.
    same = np.array([[1.0, 100.0], [1.0, 100.0]])
    value, low, high = statistics.stratified_bootstrap(
        same, statistics.mean, np.random.default_rng(0), resamples=50
    )
    assert value == low == high == 50.5


def test_bootstrap_of_two_seeds_and_one_task_by_hand() -> None:
    # Means of two draws of {0, 1}: 0, 1/2, 1 with 1/4, 1/2, 1/4; the 95 % interval is all of it.
    result = statistics.stratified_bootstrap(
        [[0.0], [1.0]], statistics.mean, np.random.default_rng(0)
    )
    assert [*map(float, result)] == [0.5, 0.0, 1.0]


def test_bootstrap_bounds_are_the_quantiles_of_the_level() -> None:
    """Of a statistic that counts its resamples: 1, 2, ..., 101, and 102 of the scores themselves.

    Also by columns, as where a statistic is a curve.
    """
    count = 0

    def counted(_: object) -> list[float]:
        nonlocal count
        count += 1
        return [count, -10.0 * count]

    value, low, high = statistics.joint_bootstrap(
        [SCORES], counted, np.random.default_rng(0), resamples=101, level=0.8
    )
    assert value.tolist() == [102, -1020]
    assert low.tolist() == pytest.approx([11, -910])
    assert high.tolist() == pytest.approx([91, -110])


def test_bootstrap_of_one_agent_has_the_level_asked_for() -> None:
    narrow, wide = (
        statistics.stratified_bootstrap(
            SCORES, statistics.mean, np.random.default_rng(0), level=level
        )
        for level in (0.2, 0.95)
    )
    assert narrow.high - narrow.low < wide.high - wide.low


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    inside, widths = 0, []
    for _ in range(200):
        scores = rng.normal(0, 1, (10, 5))
        _, low, high = statistics.stratified_bootstrap(scores, statistics.mean, rng, 200)
        inside += bool(low <= 0 <= high)
        widths.append(high - low)
    # 95 % wanted; ten seeds make percentile intervals a little short. An interval that is always
    # too wide would cover too: its width must be that of the mean of 50 draws, 2 * 1.96 / sqrt(50).
    assert 0.89 <= inside / 200 <= 0.98
    assert np.mean(widths) == pytest.approx(3.92 / 50**0.5, rel=0.1)


def test_bootstrap_of_two_agents_draws_them_independently() -> None:
    # P(x > y) of single seeds drawn from {0, 2} and {1, 3}: 0, 1/2 or 1 by how often 2 meets 1.
    result = statistics.joint_bootstrap(
        [[[0.0], [2.0]], [[1.0], [3.0]]],
        lambda pair: statistics.probability_of_improvement(*pair),
        np.random.default_rng(0),
    )
    assert [*map(float, result)] == [0.25, 0.0, 1.0]


def test_t_interval_of_one_group_is_the_textbooks() -> None:
    # Mean 4, standard error 2 / sqrt(3), t(0.975, 2) = 4.303.
    value, low, high = statistics.t_interval([[2.0, 4.0, 6.0]])
    assert (value, low, high) == pytest.approx((4, 4 - 4.9683, 4 + 4.9683), abs=1e-3)


def test_t_interval_of_two_groups_is_welchs() -> None:
    # Squared standard errors 4 / 3 of three seeds and 1 / 6 of four.
    value, low, high = statistics.t_interval([[2.0, 4.0, 6.0], [-1.0, 0.0, 0.0, 1.0]])
    error = (4 / 3 + (2 / 3) / 4) ** 0.5
    degrees = error**4 / ((4 / 3) ** 2 / 2 + (1 / 6) ** 2 / 3)
    assert value == 4
    half = error * stats.t.ppf(0.975, degrees)
    assert (low, high) == pytest.approx((4 - half, 4 + half))


def test_t_interval_needs_two_seeds_and_no_more() -> None:
    # Mean 1, standard error 1, t(0.975, 1) = 12.706.
    value, low, high = statistics.t_interval([[0.0, 2.0]])
    assert (value, low, high) == pytest.approx((1, 1 - 12.706, 1 + 12.706), abs=1e-3)
    with pytest.raises(ValueError, match="at least two"):
        statistics.t_interval([[0.0, 2.0], [1.0]])


def test_t_interval_covers_with_three_seeds_where_a_bootstrap_over_seeds_does_not() -> None:
    rng = np.random.default_rng(3)
    inside = {"t": 0, "bootstrap": 0}
    for _ in range(400):
        seeds = rng.normal(0, 1, 3)
        _, low, high = statistics.t_interval([seeds])
        inside["t"] += bool(low <= 0 <= high)
        _, low, high = statistics.stratified_bootstrap(seeds[:, None], statistics.mean, rng, 100)
        inside["bootstrap"] += bool(low <= 0 <= high)
    assert 0.93 <= inside["t"] / 400 <= 0.97
    assert inside["bootstrap"] / 400 < 0.85


@pytest.mark.parametrize("agent", ["x", "y"])
def test_point_estimates_are_rliables(agent: str) -> None:
    """See the file's `how`; rliable counts from 0 to 1, we in percent."""
    expected = RLIABLE[agent]
    scores = np.array(RLIABLE["scores"][agent])
    assert statistics.mean(scores) == pytest.approx(expected["mean"], abs=1e-12)
    assert statistics.median(scores) == pytest.approx(expected["median"], abs=1e-12)
    assert statistics.interquartile_mean(scores) == pytest.approx(
        expected["interquartile_mean"], abs=1e-12
    )
    assert statistics.optimality_gap(100 * scores) == pytest.approx(
        100 * expected["optimality_gap"], abs=1e-10
    )
    profile = statistics.performance_profile(scores, RLIABLE["thresholds"])
    assert profile == pytest.approx(expected["performance_profile"], abs=1e-12)


def test_probability_of_improvement_is_rliables() -> None:
    x, y = (np.array(RLIABLE["scores"][name]) for name in "xy")
    expected = RLIABLE["probability_of_improvement"]
    assert statistics.probability_of_improvement(x, y) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_needs_two_seeds() -> None:
    with pytest.raises(ValueError, match="at least two"):
        statistics.stratified_bootstrap([[1.0]], statistics.mean, np.random.default_rng(0))


def test_area_under_curve_by_trapezoids() -> None:
    assert statistics.area_under_curve([0, 1, 3], [0.0, 2.0, 2.0]) == (1 + 4) / 3
    assert statistics.area_under_curve([5], [2.0]) == 2.0
    # From a step above 0: 2 * (1 + 3) / 2 and 1 * (3 + 7) / 2 over 3 steps.
    assert statistics.area_under_curve([4, 6, 7], [1.0, 3.0, 7.0]) == 3.0


@pytest.mark.parametrize("steps", [[0, 0], [1, 0], [0]])
def test_a_curve_ascends(steps: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        statistics.area_under_curve(steps, [1.0, 2.0])


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.interquartile_mean([1.0, float("nan")])


def test_scores_without_an_axis_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 axes, not shape \(2,\)"):
        statistics.median([1.0, 2.0])
