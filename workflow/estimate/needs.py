"""What a run takes: the one estimate that planner, schedulers and checks before the start share."""

from typing import NamedTuple

from amago2.config.schema import RunConfig
from workflow.estimate.disk import scratch_bytes
from workflow.estimate.memory import gpu_bytes, host_bytes
from workflow.estimate.resources import gpus, is_asynchronous, ranks, threads
from workflow.estimate.training_time import estimated_seconds, workers


class Needs(NamedTuple):
    """Of one run, while it lasts."""

    cores: int
    """CPU cores: of the processes that learn and, with a GPU, of the environments."""
    gpus: int
    """0 on a CPU."""
    gpu_bytes: int
    """Memory of all its GPUs together."""
    host_bytes: int
    """Memory of the host, of all its processes together."""
    scratch_bytes: int
    """Disk at most, in its scratch folder."""
    seconds: float
    """Roughly, on the processor that was measured or the first GPU of `params/hardware.yaml`."""


def needs(config: RunConfig) -> Needs:
    """The estimate for a configuration."""
    return Needs(
        cores(config),
        gpus(config),
        gpu_bytes(config),
        host_bytes(config),
        scratch_bytes(config),
        estimated_seconds(config),
    )


def cores(config: RunConfig) -> int:
    """CPU cores of all its processes."""
    if config.device == "cpu":
        return threads(config)
    return ranks(config) + is_asynchronous(config) + workers(config)
