"""How costs grow: each axis is measured at several sizes in turns, in one process."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amago2.agent.agent import make_agent
from amago2.env.make import make_vector_env
from amago2.replay.buffer import Replay
from amago2.replay.shards import record_type
from amago2.rollout.collector import Collector, make_replay
from amago2.training.learner import Learner
from amago2.training.torch_settings import keep_freed_memory
from workflow.bench import workloads
from workflow.bench.axes import AXES
from workflow.bench.measures import KINDS, Result, _update_of


def scaling(axis: str, repeats: int) -> Result:
    """Median seconds by size along an axis."""
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        works = {
            point: _WORKS[axis](point, Path(folder) / str(point)) for point in AXES[axis].points
        }
        seconds: dict[int, list[float]] = {point: [] for point in works}
        for repeat in range(repeats + 1):
            for point, work in works.items():
                began = time.perf_counter()
                work()
                if repeat:
                    seconds[point].append(time.perf_counter() - began)
    return {str(point): statistics.median(found) for point, found in seconds.items()}


Operation = Callable[[], object]


def _context(length: int, _: Path) -> Operation:
    over = {"trajectory_encoder": {"context_length": length - 1}, "learner": {"batch_size": 4}}
    return _update(over)


def _batch(count: int, _: Path) -> Operation:
    return _update({"learner": {"batch_size": count}})


def _update(over: dict[str, Any]) -> Operation:
    config = workloads.config("small", "dep_actor_dep_critic", over)
    work = _update_of("small", config, "float32")
    torch.set_num_threads(1)
    return work


def _collect(count: int, tasks: int, folder: Path, updates: int) -> Operation:
    over = {
        "env": {
            "entry_point": "envs.return_scale:ReturnScale",
            "kwargs": {"scales": [1.0] * tasks},
        },
        "trajectory_encoder": {"context_length": 10, "width": 64, "feedforward_size": 256},
        "learner": {"batch_size": 32, "updates_per_epoch": updates},
        "collector": {"actors": count, "steps_per_epoch": 55},
        "replay": {"capacity": 10**5},
    }
    config = workloads.config("small", "dep_actor_dep_critic", over)
    envs = make_vector_env(config.env, count)
    agent = make_agent(config, envs.observations, envs.actions)
    replay = make_replay(config, envs, folder)
    collector, learner = Collector(config, envs, agent, replay), Learner(config, agent, replay)
    collector.reset()
    epochs = iter(range(10**6))

    def epoch() -> None:
        collector.collect(next(epochs))
        if updates:
            learner.learn(updates)

    return epoch


def _tasks(count: int, folder: Path) -> Operation:
    return _collect(16, count, folder, updates=5)


def _environments(count: int, folder: Path) -> Operation:
    return _collect(count, 4, folder, updates=0)


def _replay(count: int, folder: Path) -> Operation:
    length, context, box = KINDS["52 steps, small vector"]
    record = record_type({"o": box}, workloads.spaces("small")[1])
    replay = Replay(folder, record, 10**9, "timesteps", 10**9)
    tokens = np.zeros(length + 1, record)
    for _ in range(count):
        replay.add(tokens, "task")
    chance = np.random.default_rng(0)
    return lambda: [replay.sample(chance, 24, context) for _ in range(40)]


_WORKS: dict[str, Callable[[int, Path], Operation]] = {
    "context": _context,
    "batch": _batch,
    "tasks": _tasks,
    "environments": _environments,
    "replay": _replay,
}
