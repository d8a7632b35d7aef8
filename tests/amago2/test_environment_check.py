"""What `amago2 check-env` finds, and what it says of what an agent would learn from."""

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import amago2
from amago2 import environment_check
from amago2.config.schema import EnvironmentConfig
from amago2.env.make import make_vector_env
from amago2.env.vector_env import VectorEnv
from amago2.environment_check import EnvironmentReport, check_env
from tests.amago2.test_cli import amago2 as command
from tests.amago2.toy import Toy, small


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play here what a worker would, which takes seconds to start."""

    def here(env: EnvironmentConfig, *arguments: Any) -> VectorEnv:
        return make_vector_env(env.model_copy(update={"processes": None}), *arguments)

    monkeypatch.setattr(environment_check, "make_vector_env", here)


UNBOUNDED = gym.spaces.Box(-np.inf, np.inf, (20, 20, 3), np.float32)


class Odd(Toy):
    """Does one thing wrong."""

    begun = 0

    def __init__(self, what: str = "") -> None:
        super().__init__()
        self.what, self.resets = what, 0
        if what == "space":
            self.action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        if what == "picture":
            self.observation_space = gym.spaces.Dict({"p": UNBOUNDED})
        if what == "render":
            self.render_mode = "rgb_array"
        if what == "tasks":
            self.tasks: Any = ("left", "up")

    def render(self) -> Any:
        return None

    def close(self) -> None:
        if self.what == "close":
            raise RuntimeError("it stays open")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.resets += 1
        if self.what == "tasks":
            options = {"task": "left"}
        observation, info = super().reset(seed=seed, options=options)
        if self.what == "unseeded":
            observation["o"][1] = np.random.default_rng().random()
        if self.what == "outlives":
            observation["o"][1] = self.resets
        if self.what == "unnamed":
            info["task"] = None
        if self.what == "object":
            info["task"] = object()
        if self.what == "mask":
            info |= {"action_mask": np.ones(3, np.int8), "score": 1}
        if self.what == "picture":
            return {"p": np.zeros((20, 20, 3), np.float32)}, info
        return observation, info

    def step(self, action: Any) -> Any:
        observation, reward, over, truncated, info = super().step(action)
        if self.what == "endless":
            over = False
        if self.what == "bounds":
            observation["o"][0] = 10
        if self.what == "nan":
            reward = float("nan")
        if self.what == "old":
            return observation, reward, over, info
        if self.what == "mask":
            info |= {"action_mask": np.ones(3, np.int8), "score": 1}
        if self.what in ("unnamed", "object"):
            info["task"] = None
        if self.what == "picture":
            observation = {"p": np.zeros((20, 20, 3), np.float32)}
        return observation, reward, over, truncated, info


def found(what: str, steps: int = 300) -> EnvironmentReport:
    return check_env(f"{__name__}:Odd", {"what": what}, steps)


@pytest.mark.usefixtures("one_process")
def test_what_would_be_learned_from_is_said() -> None:
    report = found("")
    assert report.problems == []
    assert report.facts | {"speed": "", "returns": ""} == {
        "environment": f"{__name__}:Odd",
        "observations": "o (3,) float32",
        "actions": "Discrete(3)",
        "timestep encoder": "feed_forward (there is no picture)",
        "rollouts": "of 5 steps (20 of random actions)",
        "returns": "",
        "rewards": "0 to 1",
        "speed": "",
        "attempts": "up to 1 in a rollout",
        "tasks": "2: left, right",
        "info": "task, attempt, attempt_return, success; not read: 'split'",
        "video": "none (render_mode is None)",
    }


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("space", "action_space .* is unbounded"),
        ("picture", "observation p is a picture of float32 without bounds"),
        ("tasks", "reset.*'up'.* begins task 'left'; evaluation asks for every task by its name"),
        ("unnamed", r"info\['task'\] does not name the task"),
        ("object", r"info\['task'\] is .*object.*; it must be text"),
        ("unseeded", "do not give the same twice: observation 'o' of reset differs"),
        ("outlives", "an environment that was used gives something else .* state anew in reset"),
        ("endless", "no rollout has ended in 300 steps .* set env.max_episode_steps"),
        ("bounds", r"observation 'o'\[0\] is 10.0, but its space declares -9.0 to 9.0"),
        ("nan", "the reward is nan"),
        ("close", "close: RuntimeError: it stays open"),
        ("old", "step returned 4 values, as before Gymnasium 0.26"),
    ],
)
def test_what_is_wrong_is_one_problem(what: str, words: str) -> None:
    found_problems = found(what).problems
    with pytest.raises(ValueError, match=words):
        raise ValueError("\n".join(found_problems))
    assert len(found_problems) <= 2
    assert all("\n" not in problem for problem in found_problems)


@pytest.mark.usefixtures("one_process")
def test_all_that_is_read_of_an_info_is_said() -> None:
    env: dict[str, Any] = {"entry_point": f"{__name__}:Odd", "kwargs": {"what": "mask"}}
    report = check_env(small(env=env), steps=20)
    assert report.facts["info"].endswith("not read: 'split', 'action_mask', 'score'")
    assert "set env.action_mask to info" in "".join(report.notes)
    report = check_env(small(env=env | {"action_mask": "info", "metrics": ["score"]}), steps=20)
    assert report.facts["info"].endswith("success, action_mask, score; not read: 'split'")
    assert report.problems == []
    assert "mask" not in "".join(report.notes)


@pytest.mark.usefixtures("one_process")
def test_a_video_that_fails_is_no_problem() -> None:
    report = found("render")
    assert (report.problems, report.facts["video"]) == ([], "none")
    assert "no video can be made" in report.notes[0]
    assert "render returned None" in report.notes[0]


@pytest.mark.usefixtures("one_process")
def test_the_configured_encoder_and_evaluation_sets_are_tried() -> None:
    env: dict[str, Any] = {"entry_point": f"{__name__}:Odd", "eval_sets": {"a": {"what": "space"}}}
    encoder = {"kind": "cnn"}
    report = check_env(small(env=env, timestep_encoder=encoder))
    assert report.facts["timestep encoder"] == "cnn (as configured)"
    first, second = report.problems
    assert "use timestep_encoder.kind feed_forward" in first
    assert "is unbounded" in second
    env["max_episode_steps"] = 3
    assert check_env(small(env=env | {"eval_sets": {"a": {}}})).facts["time limit"] == "3 steps"


def test_the_command_plays_in_a_worker_and_says_what_it_found(tmp_path: Path) -> None:
    done = command("check-env", "tests.amago2.toy:Toy", "--steps", 20)
    assert done.returncode == 0, done.stdout
    assert "feed_forward" in done.stdout
    assert done.stdout.endswith("no problem found\n")
    config = tmp_path / "config.yaml"
    config.write_text(small().to_yaml())
    done = command("check-env", config, "--set", "env.kwargs={length: 1000000}", "--steps", 8)
    assert done.returncode == 1
    assert "problem: no rollout has ended in 8 steps" in done.stdout
    assert done.stdout.endswith("1 problem found\n")
    done = command("check-env", config, "--set", "env.size=1")
    assert done.returncode == 2
    assert done.stderr.startswith("amago2: --set env.size=1: unknown key")


class Exits(Toy):
    """Ends its process, as if all were well."""

    def step(self, action: Any) -> Any:
        os._exit(0)


def test_an_environment_that_ends_its_process_does_not_end_the_check() -> None:
    report = amago2.check_env(f"{__name__}:Exits")
    assert len(report.problems) == 1
    assert (
        "ended by itself with exit code 0: an environment ended its process" in report.problems[0]
    )


def test_environments_that_are_stepped_together_are_checked() -> None:
    report = check_env("tests.amago2.env.zoo:vectorized", {"mode": "NextStep"}, steps=100)
    assert report.problems == []
    assert "Box(" not in report.facts["observations"]
    assert "cannot be repeated one by one" in report.notes[-1]
    assert check_env("CartPole-v1", {"x": 1}).problems[0].endswith("keyword argument 'x'")
