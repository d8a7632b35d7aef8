"""Memory that a run needs, from its configuration: what a scheduler must give.

Both estimates rest on `amago2.footprint.learner_bytes`, which the trainer checks as well. What an
update really allocates is measured by `workflow.bench.tensor_memory`.
"""

from amago2.config.schema import AmagoConfig, RunConfig
from amago2.footprint import learner_bytes
from workflow.estimate.resources import gpus, ranks

BASELINE_UPDATE_BYTES = 1e9
"""An update of a baseline, at most."""
RESERVE = 1.5
"""On top of an update's activations: weights, workspaces, fragmentation."""
CUDA_BYTES = 1.5e9
"""CUDA itself, in each process."""
PROCESS_BYTES = 4e9
"""PyTorch and the simulators."""


def gpu_bytes(config: RunConfig) -> int:
    """Memory of all GPUs of a run together; 0 for a run without one."""
    return int((RESERVE * _update_bytes(config) + CUDA_BYTES) * gpus(config))


def host_bytes(config: RunConfig) -> int:
    """Memory of the host, of all learner processes together; updates count if they run there."""
    update = RESERVE * _update_bytes(config) * (config.device == "cpu")
    return int((PROCESS_BYTES + update) * ranks(config))


def _update_bytes(config: RunConfig) -> float:
    """Of one learner process."""
    return learner_bytes(config) if isinstance(config, AmagoConfig) else BASELINE_UPDATE_BYTES
