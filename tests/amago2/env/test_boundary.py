"""Whatever an environment does wrong is one sentence that names it, or harmless."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from amago2.config.schema import EnvironmentConfig
from amago2.env import boundary, make, subprocess_env
from amago2.env.make import make_env, make_vector_env
from amago2.env.vector_env import Origin, VectorEnv
from amago2.errors import ConfigError, RunError
from tests.amago2.env.misbehaving import HARMLESS, SENTENCES, Misbehaving

ENTRY = "tests.amago2.env.misbehaving:Misbehaving"


def config(fault: str, **over: Any) -> EnvironmentConfig:
    return EnvironmentConfig(entry_point=ENTRY, kwargs={"fault": fault}, **over)


def play(envs: VectorEnv, steps: int = 4) -> list[Any]:
    """Labels and what was seen of some steps in all environments."""
    envs.reset(range(len(envs)), [7] * len(envs))
    seen: list[Any] = []
    for _ in range(steps):
        rewards = envs.step(np.zeros(len(envs), np.int16))[0].tolist()
        observation = {key: array.tolist() for key, array in envs.observation.items()}
        seen.append((rewards, observation, [envs.task(row) for row in range(len(envs))]))
    return seen


@pytest.mark.parametrize("fault", SENTENCES)
def test_a_fault_is_one_sentence(fault: str) -> None:
    with (
        pytest.raises((ConfigError, RunError)) as error,
        closing(make_vector_env(config(fault), 2)) as envs,
    ):
        play(envs)
    assert re.search(SENTENCES[fault], str(error.value)), error.value
    assert str(error.value).startswith(ENTRY)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_harms_nobody_is_played(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(make_vector_env(config(fault), 2)) as envs:
        seen = play(envs)
    labels = {"task is an object": "Misbehaving", "task with an escape": r"\x1b[31m\ud800"}
    assert seen[-1][2] == [labels.get(fault, "plain")] * 2
    assert all(np.isfinite(list(observation.values())).all() for _, observation, _ in seen)
    said = capsys.readouterr().err
    assert ("close: RuntimeError: still open" in said) == (fault == "raises in close")


@pytest.fixture(scope="module")
def worker() -> Iterator[subprocess_env.SubprocessVectorEnv]:
    """Two workers whose environments can be told what to do wrong."""
    envs = make_vector_env(config("", processes=2), 3)
    assert isinstance(envs, subprocess_env.SubprocessVectorEnv)
    yield envs
    envs.close()


def test_workers_give_the_same_labels(worker: subprocess_env.SubprocessVectorEnv) -> None:
    with closing(make_vector_env(config(""), 3)) as plain:
        assert play(worker) == play(plain)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("raises", SENTENCES["raises"].replace("step 3", "actor 0 in worker 0, step 3")),
        ("interrupts", "step 3 .*KeyboardInterrupt"),
        ("crashes", "actor 0 in worker 0, step 3 .*SIGSEGV.*crash of the simulator"),
        ("os._exit", "actor 0 in worker 0, step 3 .*ended by itself with exit code 0"),
        ("hangs", "actor 0 in worker 0, step 3 .*has not returned for 0.5 s.*step_timeout_s"),
    ],
)
def test_workers_tell_what_happens_in_them(fault: str, sentence: str) -> None:
    settings = config(fault, processes=1, step_timeout_s=0.5 if fault == "hangs" else 600)
    with closing(make_vector_env(settings, 1)) as envs, pytest.raises(RunError) as error:
        play(envs)
    assert re.search(sentence, str(error.value)), error.value


def test_a_worker_that_cannot_say_that_it_hangs_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It holds the global lock of its interpreter, say; here, it is stopped."""
    monkeypatch.setattr(subprocess_env, "SHUTDOWN_TIMEOUT_S", 0.1)
    origin = Origin("stopped", step_timeout_s=0.2)
    envs = subprocess_env.SubprocessVectorEnv(made, 1, 1, origin)
    try:
        envs.reset([0], [7])
        os.kill(envs._processes[0].pid, signal.SIGSTOP)
        with pytest.raises(RunError, match=r"stopped, actor 0 in worker 0, step 1 .*not returned"):
            envs.step(np.zeros(1, np.int16))
    finally:
        envs.close()


def made(row: int) -> gym.Env[Any, Any]:
    return Misbehaving()


def test_a_call_that_never_returns_ends_the_process() -> None:
    code = (
        "from tests.amago2.env.test_boundary import *\n"
        "play(make_vector_env(config('hangs', step_timeout_s=0.5), 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"amago2: {ENTRY}, actor 0, step 3 (task plain, seed 7): it has not" in done.stderr
    assert "Traceback" not in done.stderr


def test_slow_calls_are_not_taken_to_hang() -> None:
    class Slow(Misbehaving):
        def step(self, action: Any) -> Any:
            time.sleep(0.15)
            return super().step(action)

    def fail(sentence: str) -> None:
        raise AssertionError(sentence)

    with closing(VectorEnv(lambda _: Slow(), 4, Origin("slow", step_timeout_s=0.5), fail)) as envs:
        play(envs, 2)


class OldReset(Misbehaving):
    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(3, np.float32)


class Strict(Misbehaving):
    def __init__(self, size: int) -> None:
        super().__init__()
        _ = "cell " + size  # type: ignore[operator]


class Parcel(Misbehaving):
    def __init__(self, slot: str | int = "A") -> None:
        super().__init__()
        self.slot = slot


class PerActor(Parcel):
    actor_slots = True


class Growing(Misbehaving):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        Growing.made += 1
        self.action_space = gym.spaces.Discrete(1 + Growing.made)


def own(name: str, **over: Any) -> EnvironmentConfig:
    return EnvironmentConfig(entry_point=f"{__name__}:{name}", **over)


@pytest.mark.parametrize(
    ("name", "kwargs", "sentence"),
    [
        ("OldReset", {}, "OldReset.reset must take `seed` and `options`.*Gymnasium 0.26"),
        ("Strict", {}, "do not fit .*Strict: missing a required argument: 'size'"),
        ("Strict", {"size": 5, "x": 1}, "do not fit .*unexpected keyword argument 'x'"),
        ("Strict", {"size": 5}, r"constructor: TypeError: can only .* \(.*test_boundary.py, line"),
        ("Growing", {}, "actor 1, spaces: .*Discrete.* but the first one.*must have the same"),
    ],
)
def test_a_class_that_cannot_be_used(name: str, kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, RunError), match=sentence):
        make_vector_env(own(name, kwargs=kwargs), 2)


def test_only_classes_that_ask_for_it_are_given_their_actors_number() -> None:
    made = [make_env(own(name), row=1) for name in ("Parcel", "PerActor")]
    assert [env.slot for env in made if isinstance(env, Parcel)] == ["A", 1]
    told = make_env(own("PerActor", kwargs={"slot": 5}), row=1)
    assert isinstance(told, PerActor)
    assert told.slot == 5


def test_rollouts_are_truncated_at_their_limit() -> None:
    with closing(make_vector_env(config("", max_episode_steps=2), 2)) as envs:
        envs.reset(range(2), range(2))
        ends = [envs.step(np.zeros(2, np.int16))[1:] for _ in range(2)]
    assert [(a.tolist(), b.tolist()) for a, b in ends] == [
        ([False, False], [False, False]),
        ([False, False], [True, True]),
    ]


def test_a_class_of_the_registry_has_the_limit_that_is_known_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make._tell_once.cache_clear()
    pendulum = EnvironmentConfig(entry_point="gymnasium.envs.classic_control:PendulumEnv")
    with closing(make_vector_env(pendulum, 1)) as envs:
        assert envs.max_episode_steps == 200
    with closing(make_vector_env(pendulum.model_copy(update={"max_episode_steps": 9}), 1)) as envs:
        assert envs.max_episode_steps == 9
    assert capsys.readouterr().err.count("truncated after 200 steps") == 1


def test_floats_out_of_bounds_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Loose(Misbehaving):
        def see(self) -> Any:
            return np.array([0, 2, 0], np.float32)

    with closing(VectorEnv(lambda _: Loose(), 2, Origin("loose"))) as envs:
        play(envs)
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "'observation'[1] is 2.0, but its space declares -1.0 to 1.0" in said


def test_large_numbers_that_are_finite_are_no_fault() -> None:
    checks = boundary.Observations(gym.spaces.Box(-np.inf, np.inf, (2,), np.float32))
    seen = checks.read(np.array([3e38, -3e38], np.float32))["observation"]
    assert seen.tolist() == np.array([3e38, -3e38], np.float32).tolist()


def test_what_an_environment_changes_of_the_process_is_undone() -> None:
    class Meddling(Misbehaving):
        def step(self, action: Any) -> Any:
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            return super().step(action)

    with closing(VectorEnv(lambda _: Meddling(), 1)) as envs:
        play(envs, 1)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
