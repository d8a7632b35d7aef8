"""Whether the machine has the disk space and the memory that a run needs."""

import shutil
from pathlib import Path

import psutil

from amago2.config.schema import AmagoConfig
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.footprint import Shapes, scratch_timesteps, update_bytes
from amago2.replay.shards import record_type


def shapes_of(envs: VectorEnv) -> Shapes:
    """What memory and disk depend on in the spaces of `envs`."""
    images = [box.shape for box in envs.observations.values() if len(box.shape) == 3]
    return Shapes(
        record_type(envs.observations, envs.actions).itemsize,
        max(images, default=()),
        envs.actions.kind == "discrete",
        envs.actions.size,
    )


def check_resources(config: AmagoConfig, envs: VectorEnv, folder: Path) -> None:
    """Raise `RunError` if a run would fill the disk under `folder` or the memory."""
    shapes = shapes_of(envs)
    stored = sum(path.stat().st_size for path in folder.glob("replay/tokens-*.npy"))
    disk = shapes.record_bytes * scratch_timesteps(config) + 2**28 - stored
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise RunError(
            f"{folder}: replay would take {disk / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "lower replay.capacity or choose another folder"
        )
    if config.device != "cpu":
        return
    memory = update_bytes(config, shapes, in_one_pass=False) * (config.learner.processes or 1)
    available = psutil.virtual_memory().available
    if memory > available:
        raise RunError(
            f"an update would take about {memory / 1e9:.1f} GB of memory, "
            f"{available / 1e9:.1f} GB are free; lower learner.batch_size or "
            "trajectory_encoder.context_length"
        )
