"""Tasks and attempts by the provided wrappers, and labels wherever environments live."""

from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from amago2.config.schema import EnvironmentConfig
from amago2.env import MultiAttempt, TaskMixture
from amago2.env.make import make_vector_env
from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError
from tests.amago2.env.zoo import Masked, Spaces
from tests.amago2.toy import Toy


def test_a_rollout_of_several_attempts_begins_each_from_the_same_seed() -> None:
    env = MultiAttempt(Toy(), attempts=3)
    with closing(VectorEnv(lambda _: env, 1)) as envs:
        envs.reset([0], [7])
        seen, ended, flags = [], [], []
        for step in range(1, 16):
            flags.append(float(envs.observation["new_attempt"][0, 0]))
            seen.append(envs.observation["o"][0].tolist())
            _, terminated, _ = envs.step(np.ones(1, np.int16))
            if attempt := envs.attempts[0]:
                ended.append((step, attempt))
            assert terminated[0] == (step == 15)
        assert flags == [1.0, 0, 0, 0, 0] * 3
        assert seen[:5] == seen[5:10] == seen[10:]
        assert [(step, a.number) for step, a in ended] == [(5, 0), (10, 1), (15, 2)]
        value = 5.0 * (envs.task(0) == "right")
        assert all(a.value == value and a.success == (value > 2) for _, a in ended)


def test_attempts_may_begin_anew_at_the_same_task() -> None:
    env = MultiAttempt(Toy(), same_start=False)
    observation, info = env.reset(seed=1)
    again = None
    for _ in range(5):
        again, _, _, _, later = env.step(0)
    assert again is not None
    assert info["task"] == later["task"]
    assert again["o"][0] == observation["o"][0]
    assert again["o"][1] != observation["o"][1]
    with pytest.raises(ConfigError, match="attempts is 0"):
        MultiAttempt(Toy(), 0)


def play(env: gym.Env[Any, Any], task: str | None, steps: int = 3) -> tuple[Any, list[Any]]:
    observation, info = env.reset(seed=3, options={"task": task} if task else None)
    seen = [observation]
    for _ in range(steps):
        seen.append(env.step(env.action_space.sample())[0])
    assert all(env.observation_space.contains(each) for each in seen)
    return info, seen


def test_a_mixture_has_every_environments_tasks_and_holds_all_observations() -> None:
    env = TaskMixture(
        {"toy": Toy(), "grid": Spaces("MultiBinary"), "wide": Spaces("MultiDiscrete")}
    )
    assert env.tasks == ("toy/left", "toy/right", "grid", "wide")
    boxes = {key: (box.shape, str(box.dtype)) for key, box in env.boxes.items()}
    assert boxes == {"o": ((3,), "float32"), "observation": ((11,), "uint8")}
    for task in env.tasks:
        info, seen = play(env, task)
        assert info["task"] == task
        assert any(each["o"].any() for each in seen) == task.startswith("toy")
    some = TaskMixture({"toy": Toy, "grid": Spaces}, tasks=["grid"])
    assert {play(some, None)[0]["task"] for _ in range(3)} == {"grid"}


def test_actions_that_an_environment_lacks_are_masked() -> None:
    env = TaskMixture(
        {"toy": Toy, "cart": lambda: gym.make("CartPole-v1"), "own": Masked("observation")}
    )
    assert env.action_space == gym.spaces.Discrete(3)
    masks = {
        task: play(env, task, 0)[1][0]["action_mask"].tolist() for task in ("toy/left", "cart")
    }
    assert masks == {"toy/left": [1, 1, 1], "cart": [1, 1, 0]}
    assert sum(play(env, "own", 0)[1][0]["action_mask"]) == 2


def test_boxes_of_several_sizes_are_scaled_to_each() -> None:
    taken: list[Array] = []

    class Seen(Spaces):
        def step(self, action: Any) -> Any:
            taken.append(action)
            return super().step(action)

    env = TaskMixture({"wide": Seen(taken="Box of rank 2"), "thin": Seen(taken="scalar Box")})
    assert env.action_space.shape == (4,)
    for task in env.tasks:
        env.reset(seed=0, options={"task": task})
        env.step(np.array([1, -1, 0, 1], np.float32))
    assert taken[0].tolist() == [[2, -2], [0, 2]]
    assert taken[1].tolist() == 2


def test_weights_say_how_often_an_environment_is_drawn() -> None:
    env = TaskMixture({"a": Spaces, "b": Spaces}, weights=[1, 9])
    drawn = [env.reset(seed=seed)[1]["task"] for seed in range(200)]
    assert 160 <= drawn.count("b") <= 199
    assert drawn == [env.reset(seed=seed)[1]["task"] for seed in range(200)]


@pytest.mark.parametrize(
    ("envs", "words"),
    [
        (
            {"a": Toy, "b": lambda: Toy(continuous=True)},
            r"actions of one kind.*discrete \(3\) of a",
        ),
        ({"a": lambda: Spaces("channels last"), "b": Spaces}, "differ in observation observation"),
        ({}, "must have environments"),
    ],
)
def test_what_does_not_mix_is_refused_in_a_sentence(envs: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TaskMixture(envs)
    with pytest.raises(ConfigError, match="no task 'c'; it has a"):
        TaskMixture({"a": Spaces}, tasks=["c"])


def seeing(*shape: int) -> gym.Env[Any, Any]:
    """Sees bytes if it is large, else flags."""
    env, large = Spaces(), shape[0] > 20
    env.observation_space = gym.spaces.Box(
        0, 255 if large else 1, shape, np.uint8 if large else bool
    )
    return env


class Keyed(gym.ObservationWrapper[Any, Any, Any]):
    """What is seen, under a key."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Dict({"eye": env.observation_space})

    def observation(self, observation: Any) -> Any:
        return {"eye": observation}


FLAT = gym.wrappers.FlattenObservation


@pytest.mark.parametrize(
    ("shapes", "words", "remedies"),
    [
        ([(4,), (16,), (10, 10, 4)], "FlattenObservation among the wrappers of 2$", {2: FLAT}),
        ([(3, 3), (4, 4), (5,)], "among the wrappers of 0, 1$", {0: FLAT, 1: FLAT}),
        ([(4,), (30, 40, 3)], "turn what 1 observes into a Dict", {1: Keyed}),
        (
            [(30, 40, 3), (30, 40, 1)],
            "as many channels .*GrayscaleObservation",
            {0: gym.wrappers.GrayscaleObservation},
        ),
        (
            [(30, 40, 3), (40, 40, 3)],
            "one size .*ResizeObservation",
            {0: lambda env: gym.wrappers.ResizeObservation(env, (40, 40))},
        ),
    ],
)
def test_the_remedy_that_is_named_is_one(
    shapes: list[tuple[int, ...]], words: str, remedies: dict[int, Any]
) -> None:
    envs = [seeing(*shape) for shape in shapes]
    with pytest.raises(ConfigError, match=words):
        TaskMixture({str(number): env for number, env in enumerate(envs)})
    cured = {str(n): remedies.get(n, lambda env: env)(env) for n, env in enumerate(envs)}
    mixed = TaskMixture(cured)
    for task in mixed.tasks:
        play(mixed, task)


def test_labels_do_not_depend_on_processes() -> None:
    mixture = ["CartPole-v1", {"id": "CartPole-v1", "label": "again"}, "tests.amago2.toy:Toy"]
    found = []
    for processes in (None, 2):
        config = EnvironmentConfig.model_validate({"mixture": mixture, "processes": processes})
        with closing(make_vector_env(config, 3)) as envs:
            envs.reset(range(3), [1, 2, 3])
            labels = [envs.task(row) for row in range(3)]
            tasks = [{"task": "Toy/left"}, {"task": "again"}, {"task": "CartPole-v1"}]
            envs.reset(range(3), [1, 2, 3], tasks)
            found.append((envs.tasks, labels, [envs.task(row) for row in range(3)]))
    assert found[0] == found[1]
    assert found[0][0] == ("CartPole-v1", "again", "Toy/left", "Toy/right")
    assert found[0][2] == ["Toy/left", "again", "CartPole-v1"]
