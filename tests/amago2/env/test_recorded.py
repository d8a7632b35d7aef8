"""What others recorded of any action space comes back as the same actions."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from amago2.env.recorded import at, stored_actions
from amago2.env.spaces import ActionSpec

BOX = gym.spaces.Box(np.array([-3, 0], np.float32), np.array([1, 9], np.float32))
SPACES: list[gym.Space[Any]] = [
    gym.spaces.Discrete(5, start=-2),
    gym.spaces.MultiBinary((2, 3)),
    BOX,
    gym.spaces.Box(-2, 2, (2, 2), np.float64),
    gym.spaces.Box(0, 6, (3,), np.int64),
    gym.spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    gym.spaces.Tuple([BOX, gym.spaces.Discrete(3)]),
    gym.spaces.Dict({"b": gym.spaces.MultiBinary(2), "a": gym.spaces.MultiDiscrete([2, 2])}),
]


def batched(values: list[Any]) -> Any:
    """As data sets have them: arrays over time, in dicts and tuples."""
    if isinstance(values[0], dict):
        return {key: batched([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(batched([value[i] for value in values]) for i in range(len(values[0])))
    return np.array(values)


def flat(space: gym.Space[Any], value: Any) -> list[float]:
    return np.asarray(gym.spaces.flatten(space, value), float).tolist()


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_come_back(space: gym.Space[Any]) -> None:
    space.seed(0)
    spec, taken = ActionSpec.of(space), [space.sample() for _ in range(20)]
    stored = stored_actions(spec, batched(taken))
    assert stored.dtype == spec.stored.base
    assert spec.holds(stored)
    for action, given in zip(spec.to_env(stored), taken, strict=True):
        assert flat(space, action) == pytest.approx(flat(space, given), abs=1e-5)


@pytest.mark.parametrize(
    ("space", "taken", "sentence"),
    [
        (gym.spaces.Discrete(3), [0, 3], "must be one number each, from 0 to 2"),
        (gym.spaces.Discrete(3), [[0, 1]], "must be one number each, from 0 to 2"),
        (gym.spaces.Discrete(3), ["a"], "are <U1, not numbers"),
        (BOX, [[0, 10]], "hold 10, which is out of the space's bounds"),
        (BOX, [[np.nan, 1]], "hold nan, which is out"),
        (BOX, [[1, 2, 3]], r"have shape \(3,\), and must have 2 numbers"),
        (gym.spaces.MultiBinary(2), [[0, 2]], "hold other numbers than 0 and 1"),
        (SPACES[6], (np.zeros((1, 2)),), "have 1 parts, and must have 2"),
        (SPACES[7], {"a": [[0, 0]]}, "must have the keys a, b"),
    ],
)
def test_what_is_no_action_is_refused(space: gym.Space[Any], taken: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        stored_actions(ActionSpec.of(space), taken)


def test_a_timestep_of_nested_values() -> None:
    recorded = {"a": np.arange(3), "b": (np.arange(6).reshape(3, 2), ["x", "y", "z"])}
    found = at(recorded, 1)
    assert (found["a"], found["b"][0].tolist(), found["b"][1]) == (1, [2, 3], "y")
    with pytest.raises(IndexError):
        at(recorded, 3)
