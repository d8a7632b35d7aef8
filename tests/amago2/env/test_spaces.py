"""What is stored of an action, what the agent is told of it, and which spaces are refused."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from amago2.env.observations import observation_space
from amago2.env.spaces import ActionSpec, Array
from amago2.errors import ConfigError

KINDS: dict[str, tuple[Array, Array]] = {
    "discrete": (np.array([2, 0], np.int16), np.array([[0, 0, 1], [1, 0, 0]], np.float32)),
    "continuous": (
        np.array([[0.5, -1, 0]], np.float32),
        np.array([[0.5, -1, 0]], np.float32),
    ),
    "multibinary": (np.array([[1, 0, 1]], np.uint8), np.array([[1, 0, 1]], np.float32)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_stored_and_represented_actions_are_each_others(kind: str) -> None:
    spec = ActionSpec(kind, 3, -np.ones(3), np.ones(3))  # type: ignore[arg-type]
    stored, represented = KINDS[kind]
    assert_same(spec.represent(stored), represented)
    assert_same(spec.store(represented), stored)
    assert not spec.represent(spec.blank()[None]).any()


def assert_same(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def actions_of(space: gym.Space[Any], draws: int = 2000) -> Array:
    """Many stored actions in the form that the environment takes."""
    spec = ActionSpec.of(space)
    stored = np.linspace(-1, 1, draws, dtype=np.float32)[:, None].repeat(spec.size, 1)
    return np.stack(spec.to_env(stored))


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(0, 3, (1,), np.int64),
        gym.spaces.Box(-2, 2, (2,), np.int32),
        gym.spaces.Box(-128, 127, (1,), np.int8),
        gym.spaces.Box(0, 255, (1,), np.uint8),
        gym.spaces.Box(7, 7, (1,), np.int64),
        gym.spaces.Box(2**40, 2**40 + 2, (1,), np.int64),
        gym.spaces.Box(0, 1, (1,), np.bool_),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_every_whole_number_of_a_box_is_drawn_equally_often(space: gym.spaces.Box) -> None:
    taken = actions_of(space)
    assert taken.dtype == space.dtype
    assert all(space.contains(action) for action in taken)
    values, counts = np.unique(taken[:, 0], return_counts=True)
    assert len(values) == int(space.high[0]) - int(space.low[0]) + 1
    assert np.ptp(counts) <= 2


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-0.1, 0.3, (2,), np.float32),
        gym.spaces.Box(np.array([-1e30, 0]), np.array([1e30, 1e-30]), dtype=np.float64),
        gym.spaces.Box(-40000, 40000, (1,), np.float16),  # whose width is no float16
        gym.spaces.Box(1, 1, (1,), np.float32),
    ],
    ids=str,
)
def test_real_actions_reach_both_bounds_and_stay_inside(space: gym.spaces.Box) -> None:
    taken = actions_of(space)
    assert taken.dtype == space.dtype
    assert all(space.contains(action) for action in taken)
    assert np.array_equal(taken[0], space.low)
    np.testing.assert_allclose(taken[-1].astype(float), space.high, rtol=1e-6)


def test_the_first_of_a_discrete_space_need_not_be_0() -> None:
    spec = ActionSpec.of(gym.spaces.Discrete(3, start=-1))
    assert spec.to_env(np.array([0, 1, 2], np.int16)) == [-1, 0, 1]
    far = ActionSpec.of(gym.spaces.Discrete(2, start=10**6))
    assert far.to_env(np.array([1], np.int16)) == [10**6 + 1]
    assert ActionSpec.of(gym.spaces.Discrete(1)).size == 1


MOST = float(np.finfo(np.float32).max)
FLOATS = gym.spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (gym.spaces.Box(-MOST, MOST, (2,), np.float32), "is unbounded"),
        (gym.spaces.Box(0, MOST, (2,), np.float32), "is unbounded"),
        (gym.spaces.Box(-3e38, 3e38, (2,), np.float32), "is unbounded"),
        (gym.spaces.Box(-1.7e308, 1.7e308, (2,), np.float64), "is unbounded"),
        (gym.spaces.Box(-np.inf, 1, (2,), np.float32), "is unbounded"),
        (gym.spaces.Box(-(2**62), 2**62, (1,), np.int64), "is unbounded"),
        (gym.spaces.Box(0, 2**21, (1,), np.int64), "more than 1,048,576 whole numbers"),
        (gym.spaces.Box(-1, 1, (0,), np.float32), "has no action"),
        (gym.spaces.Discrete(40000), "has 40000 actions, and may have 32,767"),
        (gym.spaces.MultiDiscrete([20000, 20000]), "has 40000 choices, and may have 32,767"),
        (gym.spaces.Tuple([]), "has no action"),
        (gym.spaces.Dict({"a": gym.spaces.Text(5)}), r"holds Text\(.*, which is not supported"),
        (gym.spaces.Sequence(FLOATS), "ActionWrapper"),
        (gym.spaces.Text(5), "ActionWrapper"),
    ],
    ids=str,
)
def test_what_cannot_be_acted_in_is_refused_in_one_sentence(
    space: gym.Space[Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^action_space .*{words}") as refused:
        ActionSpec.of(space)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (gym.spaces.Discrete(5000), "one-hot vector has 5,000 numbers, and may have 4,096"),
        (gym.spaces.Text(1000), "has 62,000 numbers"),
        (gym.spaces.Sequence(FLOATS), "is not supported; use Box, Discrete"),
        (
            gym.spaces.Dict({"a": gym.spaces.Dict({"b": gym.spaces.Graph(FLOATS, None)})}),
            r"has a\.b, ",
        ),
        (gym.spaces.Tuple([]), "empty Tuple"),
        (gym.spaces.Dict({"a.b": FLOATS, "a": gym.spaces.Dict({"b": FLOATS})}), "are called a.b"),
        (gym.spaces.Dict({}), "empty Dict"),
        (gym.spaces.Dict({1: FLOATS}), "the key 1; keys must be text"),  # type: ignore[dict-item]
        (gym.spaces.Box(-1, 1, (0,), np.float32), r"of shape \(0,\), without a number"),
        (gym.spaces.Box(-1, 1, (2,), np.longdouble), "use float32"),
    ],
    ids=str,
)
def test_what_cannot_be_observed_is_refused_in_one_sentence(
    space: gym.Space[Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^observation_space.*{words}"):
        observation_space(space)
