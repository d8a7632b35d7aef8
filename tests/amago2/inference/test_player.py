"""Acting outside of training: the same actions, for the spaces that the agent was made for."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from amago2.agent.agent import make_agent
from amago2.env.spaces import ActionSpec
from amago2.inference.player import Player, load
from amago2.training.amago_trainer import train
from tests.amago2.toy import small

BOXES: dict[str, gym.spaces.Box] = {
    "a": gym.spaces.Box(-9, 9, (3,), np.float32),
    "b": gym.spaces.Box(-9, 9, (1,), np.float32),
}


def player(boxes: dict[str, gym.spaces.Box], space: gym.Space[Any]) -> Player:
    return Player(make_agent(small(), boxes, ActionSpec.of(space)))


def test_observations_are_taken_in_any_real_type() -> None:
    plays = player(BOXES, gym.spaces.Discrete(3))
    assert plays.act({"a": [1, 2, 3], "b": 0.5}) in range(3)
    assert plays.act({"a": np.ones(3), "b": np.zeros(1, np.float16)}, reward=1) < 3


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ({"a": np.ones(3)}, "lacks 'b'"),
        ({"a": np.ones(3), "b": 0, "c": 0}, "has 'c'"),
        ({"a": np.ones(4), "b": 0}, r"'a' is an array \(4,\)"),
        ({"a": np.full(3, np.nan), "b": 0}, r"'a'\[0\] is nan"),
        ({"a": "text", "b": 0}, "'a' is"),
        (np.ones(3), "lacks 'a', 'b'|has 'observation'"),
    ],
)
def test_another_observation_costs_a_sentence(observation: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        player(BOXES, gym.spaces.Discrete(3)).act(observation)
    with pytest.raises(ValueError, match="the reward is nan"):
        player(BOXES, gym.spaces.Discrete(3)).act({"a": np.ones(3), "b": 0}, float("nan"))


class Levels(gym.Env[Any, Any]):
    """Takes a whole number of its declared type, and nothing else."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 2, (1,), np.int16)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        assert action.dtype == np.int16
        self.time += 1
        reward = float(["a", "b", "c", "d"].index("abcd"[action[0] + 1]) == 3)
        return np.zeros(2, np.float32), reward, self.time == 4, False, {}


def test_a_loaded_policy_takes_whole_numbers_as_in_training(tmp_path: Path) -> None:
    env = {"entry_point": f"{__name__}:Levels"}
    train(small(env=env, collector={"epochs": 2}), tmp_path / "run")
    plays = load(tmp_path / "run")
    found = []
    for _ in range(200):
        action = plays.act(np.zeros(2, np.float32))
        assert Levels.action_space.contains(action)
        found.append(int(action[0]))
    assert len(set(found)) > 1
