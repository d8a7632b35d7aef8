"""What every benchmark must keep, as functions that take an environment."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env

from envs.contract import MultiTaskEnv

Step = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]


def rollout(
    env: MultiTaskEnv,
    seed: int | None,
    task: str | None = None,
    limit: int = 10**6,
    action_seed: int = 0,
) -> list[Step]:
    """The reset (reward 0) and all steps of one rollout of random actions."""
    env.action_space.seed(action_seed)
    observation, info = env.reset(seed=seed, options=None if task is None else {"task": task})
    steps: list[Step] = [(observation, 0.0, False, False, info)]
    while not (steps[-1][2] or steps[-1][3]) and len(steps) <= limit:
        steps.append(env.step(env.action_space.sample()))
    return steps


def assert_same(first: list[Step], second: list[Step]) -> None:
    """Two rollouts agree in every number."""
    assert len(first) == len(second)
    for (obs1, *rest1), (obs2, *rest2) in zip(first, second, strict=True):
        assert obs1.keys() == obs2.keys()
        assert all(np.array_equal(obs1[key], obs2[key]) for key in obs1)
        assert rest1 == rest2


@contextmanager
def global_generators_untouched() -> Iterator[None]:
    """Fail if Python's or NumPy's global generator moves inside the block."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    assert random.getstate() == python
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy, after, strict=True))


def check_gymnasium(env: MultiTaskEnv) -> None:
    """Gymnasium's own checker; it warns of unbounded boxes and of a missing spec, both meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check_env(env, skip_render_check=True)


def check_reproducible(
    make: Callable[[], MultiTaskEnv], task: str | None = None, limit: int = 10**6
) -> None:
    """A seed decides a rollout, whatever the environment did before; seed=None goes on from it."""
    fresh, used = make(), make()
    with global_generators_untouched():
        rollout(used, seed=5, limit=30)
        for seed in (7, None, None):
            assert_same(
                rollout(fresh, seed, task, limit),
                rollout(used, seed, task, limit),
            )
        different = rollout(used, 8, task, limit)
        assert any(
            not np.array_equal(a[0][key], b[0][key])
            for a, b in zip(rollout(fresh, 7, task, limit), different, strict=False)
            for key in a[0]
        )
    fresh.close()
    used.close()


def check_rollout(env: MultiTaskEnv, steps: list[Step]) -> None:
    """Spaces, rewards and info of a whole rollout are as `envs.contract` says."""
    task, attempt = steps[0][4]["task"], 0
    assert task in env.tasks
    for index, (observation, reward, terminated, truncated, info) in enumerate(steps):
        assert env.observation_space.contains(observation)
        assert isinstance(reward, float)
        assert type(terminated) is bool
        assert type(truncated) is bool
        assert info["task"] == task
        assert info["split"] == env.split
        assert info["attempt"] in (attempt, attempt + 1)
        attempt = info["attempt"]
        assert set(info) <= {"task", "split", "attempt", "attempt_return", "success"}
        assert not ("success" in info and "attempt_return" not in info)
        assert (terminated or truncated) == (index == len(steps) - 1)
    ends = [info for *_, info in steps if "attempt_return" in info]
    assert [info["attempt"] for info in ends] == list(range(len(ends)))
    assert all(type(info["attempt_return"]) is float for info in ends)
    if steps[-1][2]:
        assert len(ends) == env.attempts
        assert "attempt_return" in steps[-1][4]
