"""What the machine must have for a run, and how it is asked to serve it."""

import ctypes
import platform
import shutil
from pathlib import Path

import psutil

from amago2.config import Config
from amago2.layers import RunError
from amago2.replay import record_type
from amago2.sizes import learner_bytes
from amago2.vector_env import VectorEnv


def keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of returning them: a third less time per update."""
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


def cpu_name() -> str:
    """Name of the processor, or its architecture."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def check_resources(config: Config, envs: VectorEnv, folder: Path) -> None:
    """Refuse a run that would fill the disk or the memory. Raises `RunError`."""
    record = record_type(envs.observations, envs.actions).itemsize
    r, horizon = config.replay, config.replay.piece or config.trajectory.context
    timesteps = r.capacity * (1 if r.unit == "timesteps" else horizon)
    steps = config.collector.epochs * config.collector.steps_per_epoch * config.collector.actors
    disk = record * min(timesteps, steps) + 2**28
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise RunError(
            f"{folder}: replay would take {disk / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "lower replay.capacity or choose another folder"
        )
    memory, available = learner_bytes(config), psutil.virtual_memory().available
    if config.device == "cpu" and memory > available:
        raise RunError(
            f"an update would take about {memory / 1e9:.1f} GB of memory, "
            f"{available / 1e9:.1f} GB are free; lower learner.batch or trajectory.context"
        )
