"""Statistics over seeds and tasks: pure functions of arrays, randomness from explicit generators.

Scores are arrays (S, T): S seeds, T tasks. The paper shows the mean with the minimum and maximum
over seeds; interquartile means and stratified bootstrap intervals follow Agarwal et al. (2021).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
Statistic = Callable[[Array], float]


class Interval(NamedTuple):
    """An estimate between two bounds; each of shape (...)."""

    value: Array
    low: Array
    high: Array


def _finite(scores: ArrayLike, axes: int) -> Array:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != axes or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"expected finite scores with {axes} axes, not shape {array.shape}")
    return array


def normalise(scores: ArrayLike, zero: ArrayLike, full: ArrayLike) -> Array:
    """Scores (..., T) in percent, where task t scores 0 at `zero[t]` and 100 at `full[t]`."""
    zero, full = np.asarray(zero, dtype=np.float64), np.asarray(full, dtype=np.float64)
    if np.any(zero == full):
        raise ValueError("a score cannot be normalised where 0 % and 100 % are the same return")
    return 100.0 * (np.asarray(scores, dtype=np.float64) - zero) / (full - zero)


def mean_min_max(values: ArrayLike) -> Interval:
    """Mean, minimum and maximum over seeds: (S, ...) to three of (...)."""
    array = np.asarray(values, dtype=np.float64)
    return Interval(array.mean(axis=0), array.min(axis=0), array.max(axis=0))


def mean(scores: ArrayLike) -> float:
    """Mean over seeds and tasks."""
    return float(np.mean(np.asarray(scores, dtype=np.float64)))


def median(scores: ArrayLike) -> float:
    """Median over tasks of each task's mean over seeds."""
    return float(np.median(_finite(scores, 2).mean(axis=0)))


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half of all S x T scores: a quarter (rounded down) is cut at each end."""
    ordered = np.sort(_finite(np.atleast_2d(np.asarray(scores)), 2), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def optimality_gap(scores: ArrayLike, target: float = 100.0) -> float:
    """Mean shortfall below `target`; what exceeds it does not make up for the rest."""
    return float(target - np.minimum(_finite(scores, 2), target).mean())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Share of the S x T scores above each threshold: (K,) to (K,)."""
    flat = _finite(scores, 2).reshape(-1)
    return (flat > np.asarray(thresholds, dtype=np.float64)[:, None]).mean(axis=1)


def probability_of_improvement(scores: ArrayLike, others: ArrayLike) -> float:
    """Mean over tasks of P(a seed of `scores` > a seed of `others`); ties count half."""
    ours, theirs = _finite(scores, 2)[:, None], _finite(others, 2)[None]  # (S, 1, T), (1, R, T)
    return float(np.mean((ours > theirs) + 0.5 * (ours == theirs)))


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of `statistic`: seeds are drawn again within each task, tasks are kept.

    Arguments: scores (S, T); statistic maps (S, T) to a number. Needs two seeds or more.
    """
    return joint_bootstrap([scores], lambda one: statistic(one[0]), rng, resamples, level)


def joint_bootstrap(
    agents: Sequence[ArrayLike],
    statistic: Callable[[Sequence[Array]], ArrayLike],
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """As `stratified_bootstrap`, for a statistic of several agents, each drawn independently.

    Arguments: agents, scores (S, T) each with its own S and T; statistic maps them to (...). As in
    rliable, a task's seeds are drawn without regard to those of other tasks.
    """
    arrays = [_finite(scores, 2) for scores in agents]
    if min(map(len, arrays)) < 2:
        raise ValueError("a bootstrap over seeds needs at least two of them")
    estimates = [statistic([_redrawn(array, rng) for array in arrays]) for _ in range(resamples)]
    low, high = np.quantile(np.asarray(estimates), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(np.asarray(statistic(arrays), dtype=np.float64), low, high)


def _redrawn(scores: Array, rng: np.random.Generator) -> Array:
    return np.take_along_axis(scores, rng.integers(len(scores), size=scores.shape), axis=0)


def t_interval(groups: Sequence[ArrayLike], level: float = 0.95) -> Interval:
    """Interval of the sum of the groups' means, by Welch's t distribution.

    Arguments: independent groups of values over seeds, (S,) each, two seeds or more. Of three to
    five seeds it covers what it should, which a bootstrap over seeds does not; Colas et al. (2018)
    recommend it for few seeds.
    """
    arrays = [_finite(group, 1) for group in groups]
    if min(map(len, arrays)) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    value = np.asarray(sum(float(array.mean()) for array in arrays))
    parts = [float(array.var(ddof=1)) / len(array) for array in arrays]
    if sum(parts) == 0:
        return Interval(value, value, value)
    shares = [part**2 / (len(array) - 1) for part, array in zip(parts, arrays, strict=True)]
    degrees = sum(parts) ** 2 / sum(shares)
    half = float(stdtrit(degrees, (1 + level) / 2)) * sum(parts) ** 0.5
    return Interval(value, value - half, value + half)


def area_under_curve(steps: ArrayLike, values: ArrayLike) -> float:
    """Mean height of a learning curve (K,) over its range of steps (K,), by trapezoids."""
    x, y = np.asarray(steps, dtype=np.float64), _finite(values, 1)
    if len(x) != len(y) or np.any(np.diff(x) <= 0):
        raise ValueError("a curve needs one value for each of its steps, and the steps ascending")
    if len(x) == 1:
        return float(y[0])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (x[-1] - x[0]))
