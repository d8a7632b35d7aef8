"""Every benchmark as `params/benchmarks` has it: what it states, its spaces, and nothing leaked."""

import gc
import multiprocessing
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import psutil
import pytest

from amago2.config.schema import EnvironmentConfig
from amago2.env.make import make_env, make_vector_env
from amago2.env.vector_env import VectorEnv
from envs.contract import MultiTaskEnv
from tests.envs.contract_checks import rollout
from workflow.benchmarks.description import Actions
from workflow.benchmarks.lookup import benchmark, benchmarks
from workflow.config.parameters import Parameters
from workflow.config.requirements import lacking

PARAMETERS = Parameters(Path(__file__).resolve().parents[2] / "params")


class Stated(NamedTuple):
    """What the paper and docs/benchmarks.md say."""

    tasks: int
    attempts: int
    horizon: int | None
    keys: set[str]
    """Of the observation: nothing else may be in it, least of all which task it is."""
    eval_tasks: dict[str, int] = {}


IMAGE, VECTOR = {"image"}, {"observation"}
STATED = {
    "return_scale": Stated(4, 1, 10, VECTOR),
    "popgym": Stated(27, 2, None, VECTOR),
    "ml45": Stated(45, 3, 1_500, VECTOR, {"test_tasks": 5}),
    "procgen_easy": Stated(5, 2, 2_500, IMAGE, {"unseen_levels": 5}),
    "procgen_easy_rescaled": Stated(5, 2, 2_500, IMAGE, {"unseen_levels": 5}),
    "procgen_memory_hard": Stated(16, 2, 5_000, IMAGE, {"unseen_levels": 16}),
    "atari": Stated(10, 1, 27_000, IMAGE),
    "atari_clipped": Stated(10, 1, 27_000, IMAGE),
    "babyai": Stated(
        50, 2, None, {"image", "mission", "extra"}, {"train_tasks": 50, "test_tasks": 18}
    ),
    "retro": Stated(40, 1, 3_600, IMAGE),
    "retro_free": Stated(3, 1, 3_600, IMAGE),
}


def config(name: str, budget: str = "paper") -> EnvironmentConfig:
    if sentence := lacking(name):
        pytest.skip(sentence)
    return PARAMETERS.resolve(name, "ind_actor_ind_critic", budget).env


def made(env: EnvironmentConfig, eval_set: str | None = None) -> MultiTaskEnv:
    found = make_env(env, eval_set)
    assert isinstance(found, MultiTaskEnv)
    return found


def test_every_file_is_tested_with_its_evaluation_sets() -> None:
    assert set(STATED) == set(PARAMETERS.names("benchmarks")) == set(benchmarks())
    for name, stated in STATED.items():
        env = PARAMETERS.resolve(name, "ind_actor_ind_critic", "paper").env
        own = {key for key, args in env.eval_sets.items() if args}  # else as in training
        assert own == set(stated.eval_tasks)


def size_of(space: gym.Space[Any]) -> Actions:
    """A Gymnasium space of actions as the descriptions state it."""
    if isinstance(space, gym.spaces.Box):
        return Actions("continuous", *space.shape)
    if isinstance(space, gym.spaces.Discrete):
        return Actions("discrete", int(space.n))
    assert isinstance(space, gym.spaces.MultiBinary)
    return Actions("multibinary", *space.shape)


@pytest.mark.parametrize("name", STATED)
def test_tasks_attempts_horizon_and_spaces_are_as_stated(name: str) -> None:
    stated, env = STATED[name], made(config(name))
    assert (len(env.tasks), env.attempts, env.horizon) == stated[:3]
    assert set(env.observation_space.spaces) == stated.keys
    described = benchmark(name)
    assert described.tasks == len(env.tasks)
    assert described.held_out_tasks == stated.eval_tasks.get("test_tasks", 0)
    assert set(described.observations) == stated.keys
    for key, space in env.observation_space.spaces.items():
        assert isinstance(space, gym.spaces.Box)
        assert (described.observations[key].shape, described.observations[key].dtype) == (
            space.shape,
            str(space.dtype),
        )
    assert described.actions == size_of(env.action_space)
    for seed in range(20):
        task = env.tasks[seed * len(env.tasks) // 20]
        steps = rollout(env, seed, task, limit=3)
        assert all(env.observation_space.contains(observation) for observation, *_ in steps)
        assert steps[0][4]["task"] == task
    env.close()


@pytest.mark.parametrize(
    ("name", "eval_set"), [(name, each) for name in STATED for each in STATED[name].eval_tasks]
)
def test_evaluation_has_the_same_spaces_and_variants_of_its_own(name: str, eval_set: str) -> None:
    train = made(config(name))
    evaluation = made(config(name), eval_set)
    assert evaluation.observation_space == train.observation_space
    assert evaluation.action_space == train.action_space
    assert len(evaluation.tasks) == STATED[name].eval_tasks[eval_set]
    assert evaluation.split == "eval"
    if eval_set == "test_tasks":
        assert not set(evaluation.tasks) & set(train.tasks)
    for seed in range(20):
        steps = rollout(evaluation, seed, limit=2)
        assert all(train.observation_space.contains(observation) for observation, *_ in steps)
    train.close()
    evaluation.close()


@pytest.mark.parametrize(
    "name", ["return_scale", "popgym", "ml45", "procgen_easy", "babyai", "atari", "retro_free"]
)
def test_a_hundred_resets_in_workers_leave_nothing_behind(name: str) -> None:
    resource_tracker.ensure_running()  # Python's own, once for all
    gc.collect()
    ours, before = psutil.Process(), psutil.Process().num_fds()
    envs = make_vector_env(config(name, "mini").model_copy(update={"processes": 2}), 2)
    try:
        workers = [psutil.Process(child.pid) for child in multiprocessing.active_children()]
        assert len(workers) == 2
        resets(envs, 0, 20)
        held = [count(process) for process in (ours, *workers)]
        resets(envs, 20, 50)
        assert [count(process) for process in (ours, *workers)] == held
        assert not any(worker.children() for worker in workers)
    finally:
        envs.close()
    assert not any(worker.is_running() for worker in workers)
    del envs
    gc.collect()
    assert ours.num_fds() == before


def resets(envs: VectorEnv, first: int, last: int) -> None:
    """Of each of two environments, with a step after each."""
    for seed in range(first, last):
        envs.reset(range(2), [2 * seed, 2 * seed + 1])
        envs.step(envs.actions.blank()[None].repeat(2, 0) * 0)


def count(process: psutil.Process) -> tuple[int, int]:
    return process.num_fds(), process.num_threads()
