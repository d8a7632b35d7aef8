"""Whether the machine has the disk space and the memory that a run needs."""

import shutil
from pathlib import Path

import psutil

from amago2.config.schema import AmagoConfig
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.footprint import learner_bytes, stored_timesteps
from amago2.replay.shards import record_type


def check_resources(config: AmagoConfig, envs: VectorEnv, folder: Path) -> None:
    """Raise `RunError` if a run would fill the disk under `folder` or the memory."""
    record = record_type(envs.observations, envs.actions).itemsize
    disk = record * stored_timesteps(config) + 2**28
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise RunError(
            f"{folder}: replay would take {disk / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "lower replay.capacity or choose another folder"
        )
    memory = learner_bytes(config) * (config.learner.processes or 1)
    available = psutil.virtual_memory().available
    if config.device == "cpu" and memory > available:
        raise RunError(
            f"an update would take about {memory / 1e9:.1f} GB of memory, "
            f"{available / 1e9:.1f} GB are free; lower learner.batch_size or "
            "trajectory_encoder.context_length"
        )
