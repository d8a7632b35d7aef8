"""Memory that a run needs, from its configuration: what a scheduler must give.

The estimates rest on `amago2.footprint`, whose counts the trainer checks as well. What an update
really allocates is measured by `workflow.bench.tensor_memory`, and by PyTorch's own allocator.
"""

from amago2.config.schema import AmagoConfig, ImageEncoderConfig, RunConfig
from amago2.footprint import memory_bytes, update_bytes
from workflow.estimate import network
from workflow.estimate.resources import gpus, ranks
from workflow.estimate.shapes import shapes
from workflow.estimate.training_time import workers

BASELINE_UPDATE_BYTES = 1e9
"""An update of a baseline, at most."""
HELD = 1.2
"""What PyTorch's allocator holds, of what is allocated at the peak: 1.03 to 1.25 times as much."""
HELD_WITH_IMAGES = 1.25
"""The same where the activations of images are kept, which are large blocks: 1.15 to 1.25."""
CUDA_BYTES = 0.75e9
"""CUDA's context with the libraries' kernels and workspaces, in each process: assumed."""
RESERVE = 1.5
"""On the host, on top of an update's activations."""
PROCESS_BYTES = 2e9
"""PyTorch and the simulators, in one process: 0.5 to 0.9 GB, and what the system caches."""
TRAINER_BYTES = 2e9
"""PyTorch with CUDA (0.9 GB), batches and the open shard; environments have their own processes."""
WORKER_BYTES, ENVIRONMENT_BYTES = 0.3e9, 0.05e9
"""Of a process with environments, and of each of these: 0.04 to 0.4 GB, and 0.04 in Meta-World."""


def gpu_bytes(config: RunConfig) -> int:
    """Memory of all GPUs of a run together; 0 for a run without one."""
    encoder = getattr(config, "timestep_encoder", None)
    kept = isinstance(encoder, ImageEncoderConfig) and encoder.recompute_frames is None
    held = allocated_bytes(config) * (HELD_WITH_IMAGES if kept else HELD)
    return int((held + CUDA_BYTES) * gpus(config))


def allocated_bytes(config: RunConfig) -> float:
    """Of tensors on the GPU of one learner process, at the peak of an update."""
    if not isinstance(config, AmagoConfig):
        return BASELINE_UPDATE_BYTES
    # Weights, gradients, the optimiser's two averages; and the target heads.
    weights = 4.0 * (4 * network.parameters(config) + network.heads(config))
    acting = memory_bytes(config, config.collector.actors + config.evaluation.actors)
    return weights + acting + update_bytes(config, shapes(config), in_one_pass=True)


def host_bytes(config: RunConfig) -> int:
    """Memory of the host, of all processes together; updates count if they run there."""
    if config.device == "cpu":
        return int((PROCESS_BYTES + RESERVE * _update_on_host(config)) * ranks(config))
    sets = len(config.env.eval_sets)
    environments = config.collector.actors + sets * config.evaluation.actors
    processes = workers(config) * (1 + sets)
    simulating = WORKER_BYTES * processes + ENVIRONMENT_BYTES * environments
    return int(TRAINER_BYTES * ranks(config) + simulating)


def _update_on_host(config: RunConfig) -> float:
    """Of one learner process."""
    if not isinstance(config, AmagoConfig):
        return BASELINE_UPDATE_BYTES
    return update_bytes(config, shapes(config), in_one_pass=False)
