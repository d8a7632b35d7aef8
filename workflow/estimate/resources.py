"""Processes, cores and GPUs of a run, from its configuration: what a scheduler must give."""

from amago2.config.schema import AmagoConfig, RunConfig


def ranks(config: RunConfig) -> int:
    """Processes that learn together, each with the configured threads or a GPU of its own."""
    return (config.learner.processes if isinstance(config, AmagoConfig) else None) or 1


def is_asynchronous(config: RunConfig) -> bool:
    """Whether a process of its own collects while the others learn."""
    return isinstance(config, AmagoConfig) and bool(config.collector.asynchronous)


def gpus(config: RunConfig) -> int:
    """GPUs that a run has, or shares with other runs if it is small; 0 on a CPU.

    An asynchronous collector has one of its own, as in the paper's memory-hard runs.
    """
    return (ranks(config) + is_asynchronous(config)) * (config.device == "cuda")


def threads(config: RunConfig) -> int:
    """CPU threads of all processes that learn, and of one that collects."""
    return config.threads * (ranks(config) + is_asynchronous(config))
