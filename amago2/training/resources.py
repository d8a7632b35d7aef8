"""What the machine must have for a run, and how it is asked to serve it."""

import ctypes
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from amago2.config.schema import AmagoConfig, RunConfig
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.footprint import learner_bytes, stored_timesteps
from amago2.replay.shards import record_type


def keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of returning them: a third less time per update."""
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


@contextmanager
def computing(config: RunConfig) -> Iterator[None]:
    """Thread count, precision and deterministic algorithms, as long as training lasts.

    Raises `ConfigError` if the device is not there, or too few of them.
    """
    learner = config.learner if isinstance(config, AmagoConfig) else None
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', but PyTorch finds no CUDA device here; use --set device=cpu"
        )
    asked = (learner and learner.processes) or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", asked))  # on this machine, says torchrun
    if config.device == "cuda" and ranks > torch.cuda.device_count():
        raise ConfigError(
            f"learner.processes needs {ranks} GPUs here, and PyTorch finds "
            f"{torch.cuda.device_count()}"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_freed_memory()
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    guard: Any = torch.utils.deterministic
    filled = guard.fill_uninitialized_memory
    torch.set_num_threads(config.threads)
    # On CUDA some operations have no deterministic form: they warn instead of stopping the run.
    torch.use_deterministic_algorithms(True, warn_only=config.device == "cuda")
    # Nothing reads memory before it is written, so it need not be filled first.
    guard.fill_uninitialized_memory = False
    try:
        with tf32((learner and learner.precision) == "tfloat32"):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        guard.fill_uninitialized_memory = filled


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA's float32 products may be TF32, which is PyTorch's default for convolutions."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    try:
        products.allow_tf32 = convolutions.allow_tf32 = allowed
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def cpu_name() -> str:
    """Name of the processor, or its architecture.

    With family and model, since a virtual machine's name may stand for several generations.
    """
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if "model name" not in facts:
        return platform.machine()
    return f"{facts['model name']}, family {facts.get('cpu family')} model {facts.get('model')}"


def check_resources(config: AmagoConfig, envs: VectorEnv, folder: Path) -> None:
    """Refuse a run that would fill the disk or the memory. Raises `RunError`."""
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
