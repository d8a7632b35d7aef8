"""`make test-gpu` needs a CUDA device."""

from collections.abc import Iterator

import pytest
import torch

from amago2.training.torch_settings import tf32
from workflow.bench import gpu


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    """Float32 means float32, in convolutions too, unless a test says otherwise."""
    assert torch.cuda.is_available(), f"make test-gpu needs an NVIDIA GPU: {gpu.missing()}"
    with tf32(False):
        yield
