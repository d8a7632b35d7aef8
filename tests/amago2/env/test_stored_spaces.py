"""What is stored of the spaces for which an agent was made."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from amago2.env.spaces import ActionSpec
from amago2.env.stored_spaces import check_eval_set, check_same_spaces, describe_spaces, read_spaces
from amago2.errors import ConfigError

Boxes = dict[str, gym.spaces.Box]
VECTOR: Boxes = {"o": gym.spaces.Box(-9, 9, (3,), np.float32)}
PICTURE: Boxes = {"p": gym.spaces.Box(0, 1, (40, 40, 2), np.float32)}
BYTES: Boxes = {"p": gym.spaces.Box(0, 255, (40, 40, 2), np.uint8)}
TWO = ActionSpec.of(gym.spaces.Discrete(2))


def stored(observations: Boxes, actions: ActionSpec = TWO) -> Any:
    return json.loads(json.dumps(describe_spaces(observations, actions)))


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(3, start=2),
        gym.spaces.Box(-2, 2, (2,), np.float64),
        gym.spaces.Box(0, 3, (1,), np.int64),
        gym.spaces.MultiBinary(4),
    ],
    ids=str,
)
def test_actions_read_back_are_the_same_in_the_environment(space: gym.Space[Any]) -> None:
    made = ActionSpec.of(space)
    _, read = read_spaces(stored(VECTOR, made))
    low = np.float32(-0.3)
    action = np.zeros(2, np.int16) if made.kind == "discrete" else np.full((2, made.size), low)
    for one, other in zip(made.to_env(action), read.to_env(action), strict=True):
        assert np.array_equal(one, other)
        assert type(one) is type(other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


def test_the_bounds_of_a_picture_of_floats_are_kept() -> None:
    box = read_spaces(stored(PICTURE))[0]["p"]
    assert box == PICTURE["p"]
    assert "low" not in stored(BYTES)["observations"]["p"]


CHANGED: dict[str, tuple[Boxes, Boxes, str]] = {
    "size": (VECTOR, {"o": gym.spaces.Box(-9, 9, (4,), np.float32)}, r"o \(3,\).* has .*o \(4,\)"),
    "key": (VECTOR, {"q": VECTOR["o"]}, r"observations o .* has observations q"),
    "another": (VECTOR, {**VECTOR, "q": VECTOR["o"]}, "observations without them, .* q"),
    "type": (VECTOR, {"o": gym.spaces.Box(-9, 9, (3,), np.float64)}, "float32.*float64"),
    "range": (PICTURE, {"p": gym.spaces.Box(0, 9, (40, 40, 2), np.float32)}, r"1\.0.*9\.0"),
    "bytes": (BYTES, PICTURE, "uint8.*float32"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_observations_are_named(name: str) -> None:
    before, now, words = CHANGED[name]
    with pytest.raises(ConfigError, match=f"^run: was made for .*{words}"):
        check_same_spaces("run", stored(before), now, TWO)
    check_same_spaces("run", stored(before), before, TWO)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (gym.spaces.Discrete(3), r"actions Discrete\(3\)"),
        (gym.spaces.Discrete(2, start=1), r"Discrete\(2, start=1\)"),
        (gym.spaces.Box(-1, 1, (2,)), r"Box\(-1.0, 1.0, \(2,\), float32\)"),
        (gym.spaces.MultiBinary(2), r"MultiBinary\(2\)"),
    ],
    ids=str,
)
def test_changed_actions_are_named(space: gym.Space[Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_same_spaces("run", stored(VECTOR), VECTOR, ActionSpec.of(space))
    with pytest.raises(ConfigError, match=f"^env.eval_sets.test: .*{words}, but that of training"):
        check_eval_set("test", stored(VECTOR), VECTOR, ActionSpec.of(space))


@pytest.mark.parametrize("damaged", [{}, {"observations": 3}, {"observations": {"o": {}}}])
def test_what_is_no_description_is_refused(damaged: Any) -> None:
    with pytest.raises(ValueError, match="not a description of spaces"):
        read_spaces(damaged)
