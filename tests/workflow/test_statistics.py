"""Statistics against values worked out by hand."""

import numpy as np
import pytest

from workflow import statistics

SCORES = np.array([[1.0, 10.0, 3.0, 4.0], [2.0, 30.0, 5.0, 4.0]])  # 2 seeds, 4 tasks


def test_normalise() -> None:
    percent = statistics.normalise([[0.5, -1.0]], zero=[0.0, -0.5], full=[1.0, 0.5])
    assert percent.tolist() == [[50.0, -50.0]]


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
    assert result == (0.5, 0.0, 1.0)


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(100):
        scores = rng.normal(0, 1, (10, 5))
        _, low, high = statistics.stratified_bootstrap(scores, statistics.mean, rng, 200)
        inside += bool(low <= 0 <= high)
    assert 85 <= inside <= 100  # 95 % wanted; few seeds make percentile intervals a little short


def test_bootstrap_needs_two_seeds() -> None:
    with pytest.raises(ValueError, match="at least two"):
        statistics.stratified_bootstrap([[1.0]], statistics.mean, np.random.default_rng(0))


def test_area_under_curve_by_trapezoids() -> None:
    assert statistics.area_under_curve([0, 1, 3], [0.0, 2.0, 2.0]) == (1 + 4) / 3
    assert statistics.area_under_curve([5], [2.0]) == 2.0


@pytest.mark.parametrize("steps", [[0, 0], [1, 0], [0]])
def test_a_curve_ascends(steps: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        statistics.area_under_curve(steps, [1.0, 2.0])


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        statistics.interquartile_mean([1.0, float("nan")])
