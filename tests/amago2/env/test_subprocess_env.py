import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import pytest

from amago2.config.schema import EnvironmentConfig
from amago2.env.make import make_vector_env
from amago2.env.stored_spaces import describe_spaces
from amago2.env.subprocess_env import SubprocessVectorEnv
from amago2.errors import ConfigError, RunError
from amago2.training.amago_trainer import train
from tests.amago2.toy import Toy, small
from tests.amago2.training.test_train import content

TOY = EnvironmentConfig(entry_point="tests.amago2.toy:Toy", processes=2)


def make(row: int, crash_at: int | None = None) -> gym.Env[Any, Any]:
    return Fragile(crash_at)


class Fragile(Toy):
    def __init__(self, crash_at: int | None) -> None:
        super().__init__()
        self.crash_at = crash_at

    def step(self, action: Any) -> Any:
        if self.steps + 1 == self.crash_at:
            raise RuntimeError("the simulator is broken")
        return super().step(action)


def test_workers_do_what_one_process_does() -> None:
    parallel, plain = (
        make_vector_env(TOY, 5),
        make_vector_env(TOY.model_copy(update={"processes": None}), 5),
    )
    try:
        assert parallel.tasks == plain.tasks == ("left", "right")
        assert parallel.actions == plain.actions
        chance = np.random.default_rng(0)
        for envs in (parallel, plain):
            options = [None, None, {"task": "right"}, None, None]
            envs.reset(range(5), [100 + row for row in range(5)], options)
        for _ in range(12):
            rows = np.flatnonzero(chance.random(5) < 0.7)
            actions = chance.integers(3, size=len(rows)).astype(np.int16)
            for one, two in zip(
                parallel.step(actions, rows), plain.step(actions, rows), strict=True
            ):
                assert np.array_equal(one, two)
            assert np.array_equal(parallel.observation["o"], plain.observation["o"])
            for row in rows.tolist():
                assert parallel.attempts[row] == plain.attempts[row]
                assert parallel.task(row) == plain.task(row)
                if plain.attempts[row]:
                    for envs in (parallel, plain):
                        envs.reset([row], [7])
    finally:
        parallel.close()
        plain.close()


def test_training_gives_the_same_bits_with_workers(tmp_path: Path) -> None:
    plain = content(train(small(), tmp_path / "plain"))
    workers = content(train(small(env={"processes": 2}), tmp_path / "workers"))
    for name in ("metrics.csv", "evaluations.csv", "checkpoint/policy.safetensors"):
        assert workers[name] == plain[name]


def test_a_failing_simulator_is_reported_with_task_and_seed() -> None:
    envs = SubprocessVectorEnv(partial(make, crash_at=2), 2, 2)
    try:
        envs.reset(range(2), [40, 41])
        envs.step(np.zeros(2, np.int16))
        with pytest.raises(RunError, match=r"simulator is broken") as error:
            envs.step(np.zeros(2, np.int16))
        assert "seed 40" in str(error.value)
        assert "task " in str(error.value)
    finally:
        envs.close()


def test_a_killed_worker_is_reported_and_none_outlives_close() -> None:
    envs = SubprocessVectorEnv(make, 4, 2)
    children = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(children) == 2
    try:
        envs.reset(range(4), range(4))
        os.kill(children[1].pid, signal.SIGKILL)
        with pytest.raises(RunError, match=r"actor 3 in worker 1, step 1 .*seed 3.*SIGKILL"):
            envs.step(np.zeros(4, np.int16))
    finally:
        envs.close()
    assert not any(child.is_running() for child in children)


def test_a_worker_killed_before_it_begins_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipe is closed by then; click takes a broken pipe for one of stdout and says nothing."""

    def kill(*spaces: Any) -> dict[str, Any]:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        return describe_spaces(*spaces)

    monkeypatch.setattr("amago2.env.subprocess_env.describe_spaces", kill)
    with pytest.raises(RunError, match=r"actor 0 in worker 0.*SIGKILL"):
        SubprocessVectorEnv(make, 2, 1)


def test_a_worker_that_cannot_start_is_reported() -> None:
    with pytest.raises(ConfigError, match="unexpected keyword argument"):
        make_vector_env(
            EnvironmentConfig(entry_point="tests.amago2.toy:Toy", kwargs={"wrong": 1}, processes=1),
            2,
        )
