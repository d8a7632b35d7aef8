"""The paper's sizes on a GPU: updates/s by precision, eager and not, and what a profile shows.

All arguments but `repeats` are text, as they come from the command line; all results are numbers.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.training.learner import captured_transformer
from amago2.training.torch_settings import torch_settings
from workflow.bench import workloads
from workflow.bench.measures import Result, actor_config, collecting, updater
from workflow.estimate.hardware import Accelerator, hardware
from workflow.estimate.training_time import flops_per_update

Precision = Literal["float32", "tfloat32", "bfloat16"]
BACKEND = "inductor"
LARGEST = "procgen_memory_hard"
LISTED = 12
"""Kernels of a profile that are named; the others are summed."""


def missing() -> str | None:
    """Why nothing can be measured here, if so."""
    return None if torch.cuda.is_available() else "PyTorch finds no CUDA device"


def sized(size: str, mode: Precision, how: str, device: str) -> AmagoConfig:
    """Ind./Ind. at one of the paper's sizes."""
    learner = {"precision": mode, "cuda_graph": how == "captured"}
    return workloads.config(size, "ind_actor_ind_critic", {"device": device, "learner": learner})


def agent_of(size: str, config: AmagoConfig, how: str) -> Agent:
    """Its agent, whose loss is eager, compiled, or has a captured Transformer."""
    agent = workloads.agent(size, config)
    loss: Any = partial(agent.loss, captured=captured_transformer(agent, config))
    if how == "compiled":
        torch._dynamo.config.recompile_limit = 64  # a part is compiled anew for each kind of call
        loss = torch.compile(agent.loss, backend=BACKEND)
    agent.loss = loss  # type: ignore[method-assign]
    return agent


def _update(size: str, config: AmagoConfig, how: str) -> Callable[[], None]:
    """An update with the paper's batch, all of whose timesteps are valid."""
    batch = workloads.batch(size, config, torch.Generator().manual_seed(0))
    return updater(agent_of(size, config, how), batch)[1]


def _seconds(work: Callable[[], None], device: str) -> float:
    """Seconds of one call, until the device has done it."""
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def gpu(size: str, mode: Precision, how: str, repeats: int, device: str = "cuda") -> Result:
    """An update: its seconds, operations per second, memory, and how long the first one took.

    `how` is eager, captured or compiled. Nothing if it does not fit.
    """
    config = sized(size, mode, how, device)
    flops = flops_per_update(config)
    try:
        with torch_settings(config):
            update = _update(size, config, how)
            first = _seconds(update, device)
            for _ in range(3):
                _seconds(update, device)
            seconds = statistics.median(_seconds(update, device) for _ in range(4 * repeats))
    except torch.OutOfMemoryError:
        return {}
    found = {
        "seconds": seconds,
        "tflop": flops / 1e12,
        "tflop_per_s": flops / seconds / 1e12,
        "first_s": first,
    }
    if device == "cuda":
        found["allocated_gib"] = torch.cuda.max_memory_allocated() / 2**30
        if known := accelerator(device_name()):
            found["utilisation"] = flops / seconds / known.peak[mode]
    return found


def profile(
    mode: Precision, repeats: int, device: str = "cuda", size: str = LARGEST
) -> dict[str, Any]:
    """Where updates of the largest size spend their time: each kernel's share of all kernels' time.

    `busy` is that time, as a share of the clock's.
    """
    config = sized(size, mode, "eager", device)
    kind = torch.profiler.ProfilerActivity
    with torch_settings(config):
        update = _update(size, config, "eager")
        for _ in range(3):
            _seconds(update, device)
        activities = [kind.CPU, kind.CUDA] if device == "cuda" else [kind.CPU]
        with torch.profiler.profile(activities=activities) as watched:
            took = sum(_seconds(update, device) for _ in range(repeats))
    # Operations of the host would count their kernels again, and annotations all within them.
    events = [e for e in watched.key_averages() if e.device_type.name == device.upper()]
    spent = {
        e.key: e.self_device_time_total if device == "cuda" else e.self_cpu_time_total
        for e in events
        if not e.is_user_annotation
    }
    total = sum(spent.values())
    named = sorted(((us / total, name) for name, us in spent.items()), reverse=True)[:LISTED]
    shares = {name: share for share, name in named}
    return {
        "shares": {**shares, "all others": 1 - sum(shares.values())},
        "busy": total / took / 1e6,
    }


def gpu_actors(count: str, mode: Precision, repeats: int, device: str = "cuda") -> Result:
    """Steps/s of the medium net's actors, their policy on a GPU: as `measures.actors`."""
    config = actor_config("medium", int(count), mode).model_copy(update={"device": device})
    seconds = collecting(config, 1, repeats)
    return {"steps_per_s": config.collector.steps_per_epoch * int(count) / seconds}


def device_name() -> str:
    """What the driver calls the GPU."""
    return torch.cuda.get_device_name(0)


def accelerator(name: str) -> Accelerator | None:
    """What `params/hardware.yaml` says of a GPU of this name."""
    return next((gpu for gpu in hardware().gpus.values() if gpu.device in name), None)
