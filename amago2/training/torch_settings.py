"""PyTorch's process-wide settings while a run trains: threads, precision, determinism."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from amago2.config.schema import AmagoConfig, RunConfig
from amago2.errors import ConfigError


@contextmanager
def torch_settings(config: RunConfig) -> Iterator[None]:
    """Set threads, precision and deterministic algorithms; put back what was there afterwards.

    Raises `ConfigError` if the machine lacks the device, or has too few of them.
    """
    learner = config.learner if isinstance(config, AmagoConfig) else None
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', but PyTorch finds no CUDA device here; use --set device=cpu"
        )
    configured = (learner and learner.processes) or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", configured))  # torchrun: on this machine
    if config.device == "cuda" and processes > torch.cuda.device_count():
        raise ConfigError(
            f"learner.processes needs {processes} GPUs here, and PyTorch finds "
            f"{torch.cuda.device_count()}"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_freed_memory()
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True)
    # Nothing reads memory before it is written, so it need not be filled first.
    settings.fill_uninitialized_memory = False
    try:
        with tf32(product_precision(config) == "tfloat32"), _without_cudnn_attention():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        settings.fill_uninitialized_memory = fill


def product_precision(config: RunConfig) -> str:
    """The precision of matrix products: the configured one, or else the machine's default."""
    configured = config.learner.precision if isinstance(config, AmagoConfig) else None
    tensor_cores = config.device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    return configured or ("tfloat32" if tensor_cores else "float32")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in CUDA's float32 products, PyTorch's default for convolutions."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    try:
        products.allow_tf32 = convolutions.allow_tf32 = allowed
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


@contextmanager
def _without_cudnn_attention() -> Iterator[None]:
    """Leave attention to the other kernels: the gradient of cuDNN's has no fixed order of sums."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of returning them: a third less time per update."""
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
