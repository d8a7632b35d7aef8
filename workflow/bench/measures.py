"""What is measured. Each function runs in a process of its own, so that peak memory is its own.

All arguments but `repeats` are text, as they come from the command line; all results are numbers.
"""

import contextlib
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch

from amago2.agent.agent import Agent, make_agent
from amago2.agent.batch import Batch
from amago2.config.schema import AmagoConfig, TransformerConfig
from amago2.env.make import make_vector_env
from amago2.env.spaces import ActionSpec
from amago2.env.vector_env import VectorEnv
from amago2.nets.transformer import Transformer
from amago2.replay.buffer import Replay
from amago2.replay.shards import record_type
from amago2.rollout.collector import Collector, make_replay
from amago2.training.torch_settings import keep_freed_memory
from workflow.bench import unoptimised, workloads
from workflow.bench.learning import tiny_config, trained
from workflow.estimate.training_time import flops_per_update

Result = dict[str, float]


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall seconds of `repeats` calls, after three while the heap still grows."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


# --- learner --------------------------------------------------------------------------------------


def updater(
    agent: Agent, batch: Batch, fused: bool = True
) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    """One update of the learner, its batch in memory: loss, gradients, clip, step, targets."""
    parameters = [p for p in agent.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=fused)
    rng = torch.Generator(agent.device).manual_seed(0)

    def update() -> None:
        loss, _ = agent.loss(batch, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        agent.update_targets()

    return optimizer, update


def _update_of(size: str, config: AmagoConfig, mode: str) -> Callable[[], None]:
    torch.set_num_threads(2)
    if mode != "plain":
        keep_freed_memory()
    agent = workloads.agent(size, config)
    batch = workloads.batch(size, config, torch.Generator().manual_seed(0))
    return updater(agent, batch, fused=mode != "plain")[1]


def _precision(mode: str) -> dict[str, Any]:
    return {"precision": "bfloat16"} if mode == "bfloat16" else {}


def learner(size: str, variant: str, mode: str, repeats: int) -> Result:
    """An update on 2 threads; `mode` is plain, float32 or bfloat16."""
    config = workloads.config(size, variant, {"learner": _precision(mode)})
    tokens = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    with unoptimised.unoptimised_learner() if mode == "plain" else contextlib.nullcontext():
        seconds = median_seconds(_update_of(size, config, mode), repeats)
    return {"seconds": seconds, "tokens_per_s": tokens / seconds}


def paper(size: str, mode: str, batch: str, repeats: int) -> Result:
    """An update of Ind./Ind. at one of the paper's sizes, with fewer sub-sequences than its own."""
    over: dict[str, Any] = {"learner": {"batch_size": int(batch), **_precision(mode)}}
    config = workloads.config(size, "ind_actor_ind_critic", over)
    tokens = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    seconds = median_seconds(_update_of(size, config, mode), repeats)
    flops = flops_per_update(config)
    return {
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
        "tflop_per_s": flops / seconds / 1e12,
        "paper_tflop": flops_per_update(workloads.config(size, "ind_actor_ind_critic")) / 1e12,
    }


# --- actors ---------------------------------------------------------------------------------------


THREADS = {"tiny": 1, "medium": 2}
"""The small one's products are too short for a second thread."""


def actor_config(net: str, count: int, mode: str) -> AmagoConfig:
    """RepeatPreviousEasy, with the networks of a size or of the learning checks (tiny)."""
    tiny = tiny_config("dep_actor_dep_critic")
    collector = tiny.collector.model_copy(update={"actors": count, "steps_per_epoch": 104})
    learner = tiny.learner.model_copy(update=_precision(mode))
    over: dict[str, Any] = {"collector": collector, "learner": learner}
    if net != "tiny":
        made = workloads.config(net, "dep_actor_dep_critic")
        over |= {
            "agent": made.agent,
            "timestep_encoder": made.timestep_encoder,
            "trajectory_encoder": made.trajectory_encoder,
        }
    return tiny.model_copy(update=over)


def actors(net: str, count: str, mode: str, repeats: int) -> Result:
    """Steps/s of policy, environment (RepeatPreviousEasy) and replay together.

    `mode` is plain (no cache), cached, or bfloat16 (with a cache, and products in bfloat16).
    """
    config = actor_config(net, int(count), mode)
    with unoptimised.unoptimised_actors() if mode == "plain" else contextlib.nullcontext():
        seconds = collecting(config, THREADS[net], repeats)
    return {"steps_per_s": config.collector.steps_per_epoch * int(count) / seconds}


def policy(net: str, count: str, mode: str, repeats: int) -> Result:
    """Steps/s of the policy's Transformer alone, rollouts of 128 timesteps."""
    torch.set_num_threads(THREADS[net])
    keep_freed_memory()
    n = int(count)
    trained = actor_config(net, n, mode).trajectory_encoder
    config = trained.model_copy(update={"context_length": 128})
    assert isinstance(config, TransformerConfig)
    transformer = Transformer(64, config).eval()
    tokens = torch.randn(n, 128, 64, generator=torch.Generator().manual_seed(0))
    with (
        torch.inference_mode(),
        unoptimised.unoptimised_actors() if mode == "plain" else contextlib.nullcontext(),
    ):
        memory = transformer.initial_memory(n, torch.device("cpu"))

        def rollout() -> None:
            memory.steps.zero_()
            for t in range(128):
                transformer.step(tokens[:, t], memory)

        return {"steps_per_s": 128 * n / median_seconds(rollout, repeats)}


def collecting(config: AmagoConfig, threads: int, repeats: int) -> float:
    """Median seconds of an epoch of collecting."""
    torch.set_num_threads(threads)
    envs = make_vector_env(config.env, config.collector.actors)
    epochs = iter(range(10**6))
    with closing(envs), _collector(config, envs) as collector:
        return median_seconds(lambda: collector.collect(next(epochs)), repeats)


def checks(count: str, repeats: int) -> Result:
    """Share of acting's CPU time that checking what environments return takes.

    Epochs with checks and without take turns; policy, environment and replay are those of `actors`.
    """
    torch.set_num_threads(1)
    config = actor_config("tiny", int(count), "cached")
    epochs = iter(range(10**6))
    with closing(make_vector_env(config.env, int(count))) as envs, _collector(config, envs) as made:
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for checked in [True, False] * (10 * repeats):
            unchecked = unoptimised.unchecked_environments()
            with contextlib.nullcontext() if checked else unchecked:
                began = time.process_time()
                made.collect(next(epochs))
                seconds[checked].append(time.process_time() - began)
    steps = config.collector.steps_per_epoch * int(count)
    checked_s, plain_s = statistics.median(seconds[True]), statistics.median(seconds[False])
    return {
        "checked_per_s": steps / checked_s,
        "unchecked_per_s": steps / plain_s,
        "cost": checked_s / plain_s - 1,
    }


@contextlib.contextmanager
def _collector(config: AmagoConfig, envs: VectorEnv) -> Iterator[Collector]:
    """A collector that has begun, with a replay of its own."""
    keep_freed_memory()
    agent = make_agent(config, envs.observations, envs.actions)
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(config, envs, agent, make_replay(config, envs, Path(folder)))
        collector.reset()
        yield collector


# --- replay ---------------------------------------------------------------------------------------

KINDS: dict[str, tuple[int, int, Any]] = {  # steps of a trajectory and of a sample, observation
    "52 steps, small vector": (52, 52, gym.spaces.Box(-9, 9, (4,), np.float32)),
    "1,000 steps of 17 floats": (1000, 128, gym.spaces.Box(-9, 9, (17,), np.float32)),
    "512 frames of 64x64x3": (512, 128, gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)),
}


def replay(kind: str, mode: str, repeats: int) -> Result:
    """Trajectories written, and sub-sequences sampled, per second; plain: a .npz per trajectory."""
    length, context, box = KINDS[kind]
    record = record_type({"o": box}, ActionSpec("discrete", 4))
    chance = np.random.default_rng(0)
    tokens = np.zeros(length + 1, record)
    tokens["observation.o"] = chance.integers(0, 9, tokens["observation.o"].shape)
    count = 40 if box.shape == (64, 64, 3) else 400
    with tempfile.TemporaryDirectory() as folder:
        if mode == "plain":
            write, sample = _plain_replay(Path(folder), tokens, count, context)
        else:
            write, sample = _our_replay(Path(folder), tokens, count, context)
        wrote = median_seconds(write, repeats)
        return {
            "written_per_s": count / wrote,
            "sampled_per_s": 24 * 20 / median_seconds(sample, repeats),
        }


Operation = Callable[[], object]


def _our_replay(folder: Path, tokens: Any, count: int, context: int) -> tuple[Operation, Operation]:
    made = Replay(folder, tokens.dtype, 10**9, "timesteps", 10**9)
    chance = np.random.default_rng(0)

    def write() -> None:
        for _ in range(count):
            made.add(tokens, "task")

    return write, lambda: [made.sample(chance, 24, context) for _ in range(20)]


def _plain_replay(
    folder: Path, tokens: Any, count: int, context: int
) -> tuple[Operation, Operation]:
    arrays = {name: tokens[name] for name in tokens.dtype.names}
    chance, numbers = np.random.default_rng(0), iter(range(10**9))

    def write() -> None:
        for _ in range(count):
            np.savez(folder / f"{next(numbers)}.npz", **arrays)

    def sample() -> None:
        for i in chance.integers(count, size=24 * 20):
            with np.load(folder / f"{i}.npz", allow_pickle=False) as file:
                start = chance.integers(len(tokens) - context)
                _ = {name: file[name][start : start + context + 1] for name in arrays}

    return write, sample


# --- whole runs -----------------------------------------------------------------------------------


def run(variant: str, mode: str, repeats: int) -> Result:
    """Steps/s, updates/s and both together of training at the tiny size, on 1 thread."""
    tiny = tiny_config("dep_actor_dep_critic")
    over: dict[str, Any] = {
        "agent": tiny.agent.model_copy(update=workloads.VARIANTS[variant]),
        "learner": tiny.learner.model_copy(update=_precision(mode)),
        "collector": tiny.collector.model_copy(update={"epochs": repeats + 1}),
        "evaluation": tiny.evaluation.model_copy(
            update={"every": repeats + 1, "rollouts": 1, "final_rollouts": 1}
        ),
    }
    compute = _trained(tiny.model_copy(update=over))
    medians = {
        name: statistics.median(values[1:])
        for name in ("steps_per_s", "updates_per_s")
        if (values := compute[name])
    }
    steps = tiny.collector.actors * tiny.collector.steps_per_epoch
    seconds = steps / medians["steps_per_s"]
    seconds += tiny.learner.updates_per_epoch / medians["updates_per_s"]
    return {**medians, "whole_steps_per_s": steps / seconds}


def _trained(config: AmagoConfig) -> dict[str, list[float]]:
    """What `compute.csv` of a training run says, by name."""
    found: dict[str, list[float]] = {}
    with trained(config) as run, (run / "compute.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault(row["name"], []).append(float(row["value"]))
    return found


def startup(repeats: int) -> Result:
    """Seconds from a process's start to its first environment step and its first update."""
    command = [sys.executable, "-m", "workflow", "job", "measure", "first_update", "1"]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(repeats)
    ]
    return {
        name: statistics.median([one[name] for one in found])
        for name in ("first_step_s", "first_update_s")
    }


def first_update(repeats: int) -> Result:
    """Seconds since this process began, after its first environment step and first update."""
    torch.set_num_threads(1)
    config = actor_config("tiny", 16, "float32")
    envs = make_vector_env(config.env, 16)
    agent = make_agent(config, envs.observations, envs.actions)
    began = psutil.Process().create_time()
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(config, envs, agent, make_replay(config, envs, Path(folder)))
        collector.reset()
        collector._advance(np.zeros(16, np.int16))
        stepped = time.time() - began
        one = workloads.config("small", "dep_actor_dep_critic", {"learner": {"batch_size": 2}})
        _update_of("small", one, "float32")()
    return {"first_step_s": stepped, "first_update_s": time.time() - began}
