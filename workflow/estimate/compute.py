"""What a run takes, before it is run: steps, updates, memory, and a rough guess of its time.

The guess counts the floating-point operations of an update and divides by a rate, and adds what
its environment steps take; the rates are those of `params/hardware.yaml`.
"""

import statistics
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from amago2.config.schema import (
    AmagoConfig,
    FeedForwardConfig,
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    GruConfig,
    ImageEncoderConfig,
    RunConfig,
)
from amago2.files import read_json
from amago2.memory import learner_bytes
from workflow.baselines.config import BaselineConfig, PpoGruConfig, SacConfig
from workflow.dag.runs import Run
from workflow.estimate.hardware import Accelerator, Hardware, Kernel, load

INPUTS, ACTIONS, SIDE, TOKENS = 40, 12, 64, 9
"""Sizes of a typical observation and action space: the real ones need the simulator."""
FEW = 4
"""Actions where an expectation over all of them is chosen."""
SMALL_BYTES = 1e9
"""What an update of a baseline takes of memory, at most."""


@cache
def hardware() -> Hardware:
    """The project's, read once."""
    return load()


def env_steps(config: RunConfig) -> int:
    """Environment steps of all actors."""
    return config.collector.actors * config.collector.steps_per_epoch * config.collector.epochs


def updates(config: RunConfig) -> int:
    """Gradient steps."""
    if isinstance(config, BaselineConfig):
        return config.updates
    assert isinstance(config, AmagoConfig)
    learning = max(0, config.collector.epochs - config.collector.warmup_epochs)
    return config.learner.updates_per_epoch * learning


def ranks(config: RunConfig) -> int:
    """Processes that learn together, each with the configured threads or a GPU of its own."""
    return (config.learner.processes if isinstance(config, AmagoConfig) else None) or 1


def overlaps(config: RunConfig) -> bool:
    """Whether a process of its own collects while it learns."""
    return isinstance(config, AmagoConfig) and bool(config.collector.asynchronous)


def threads(config: RunConfig) -> int:
    """CPU threads that a run computes with."""
    return config.threads * (ranks(config) + overlaps(config))


def gpus(config: RunConfig) -> int:
    """GPUs that a run has, or shares with others if they are small: one to collect beside learning,
    as the paper's memory-hard runs had it."""
    return (ranks(config) + overlaps(config)) * (config.device == "cuda")


def gpu_bytes(config: RunConfig) -> int:
    """Memory that a run claims of its GPUs together: what an update takes by estimate, half as much
    again for weights and workspaces, and what CUDA itself takes. 0 for a run without one."""
    if config.device != "cuda":
        return 0
    update = learner_bytes(config) if isinstance(config, AmagoConfig) else SMALL_BYTES
    return int((1.5 * update + 1.5e9) * gpus(config))


def memory_bytes(config: RunConfig) -> int:
    """Memory that a run is given on a cluster: PyTorch and simulators, and updates on a CPU."""
    update = learner_bytes(config) if isinstance(config, AmagoConfig) else SMALL_BYTES
    return int((4e9 + 1.5 * update * (config.device == "cpu")) * ranks(config))


def guess_s(config: RunConfig, gpu: Accelerator | None = None) -> float:
    """Rough seconds on a thread of the processor that was measured, or on a GPU (the first).

    As if sharing an update, and collecting beside it, cost nothing.
    """
    flops = flops_per_update(config) / ranks(config)
    if config.device == "cpu":
        processor = hardware().processor
        update = flops / (processor.flops * config.threads)
        step = processor.step_s.get(config.env.entry_point, processor.other_step_s)
    else:
        gpu = gpu or next(iter(hardware().gpus.values()))
        update = flops / gpu.flops + 1 / gpu.updates_per_s
        step = 1 / gpu.steps_per_s
    start = hardware().processor.start_s
    learning, collecting = updates(config) * update, env_steps(config) * step
    both = max(learning, collecting) if overlaps(config) else learning + collecting
    return start + both


def flops_per_update(config: RunConfig) -> float:
    """Forward and backward through all nets, a multiplication and an addition counting as two."""
    if isinstance(config, PpoGruConfig):
        p = config.ppo
        tokens = config.collector.actors * p.rollout_steps // p.minibatches
        states = _encoder(config.timestep_encoder) + 6 * p.width * (
            config.timestep_encoder.output_size + p.width
        )
        return 6 * tokens * (states + 2 * _mlp([p.width, *p.head_hidden_sizes, ACTIONS]))
    if isinstance(config, SacConfig):  # actor, two critics, their targets
        return 6 * config.sac.batch_size * 5 * _mlp([INPUTS, *config.sac.hidden_sizes, ACTIONS])
    assert isinstance(config, AmagoConfig)
    tokens = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    return 2 * tokens * (3 * _trunk(config) + _heads(config))


def _trunk(config: AmagoConfig) -> int:
    """Multiplications per token of encoder and Transformer, forward."""
    t = config.trajectory_encoder
    if isinstance(t, GruConfig):
        layer = 6 * t.width**2
    elif isinstance(t, FeedForwardConfig):
        layer = 2 * t.width * t.feedforward_size
    else:
        layer = 4 * t.width**2 + 2 * t.width * t.feedforward_size + t.context_length * t.width
    return (
        _encoder(config.timestep_encoder)
        + config.timestep_encoder.output_size * t.width
        + t.layers * layer
    )


def _encoder(e: FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig) -> int:
    if isinstance(e, FeedForwardEncoderConfig):
        return _mlp([INPUTS, *e.hidden_sizes, e.output_size])
    if isinstance(e, GridLanguageEncoderConfig):
        return 60_000 + TOKENS * e.rnn_size * (e.embedding_size + e.rnn_size) + 900 * e.output_size
    if e.architecture == "nature":
        return 9_000_000 + 3_000 * e.features
    side, channels, total = SIDE, 3, 0
    for depth in e.channels:  # a convolution, then four at half the resolution
        total += 9 * side**2 * (channels * depth + depth**2)
        side, channels = side // 2, depth
    return total + side**2 * channels * e.features


def _heads(config: AmagoConfig) -> int:
    """Multiplications per token of actor and critics: three forwards' worth where they learn."""
    a = config.agent
    discounts, width = len(a.discounts), config.trajectory_encoder.width
    actor = 4 * _mlp([width, *a.head_hidden_sizes, discounts * ACTIONS])  # learned, and the target
    if a.critic == "popart":
        return actor + 5 * a.num_critics * _mlp([width, *a.head_hidden_sizes, discounts * ACTIONS])
    if a.expectation == "exact":  # each action, without gradient
        target = baseline = FEW
    else:  # a policy gradient goes backward through its sample
        target, baseline = 1, 2 if a.actor == "policy_gradient" else a.value_samples
    each = discounts * _mlp([*a.head_hidden_sizes, a.bins])  # the state's own product is made once
    return actor + a.num_critics * (
        4 * width * a.head_hidden_sizes[0] + (3 + target + baseline) * each
    )


def _mlp(sizes: list[int]) -> int:
    return sum(before * after for before, after in pairwise(sizes))


def correction(runs: Iterable[Run], kernel: Kernel | None = None) -> dict[str, float]:
    """By device: what to multiply guesses by, from finished runs and a calibration of this machine.

    Finished runs tell how far the guess is off; the kernel how fast this processor is, and how much
    of it others take at the moment.
    """
    ratios: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for run in runs:
        clock = "cpu_s" if run.config.device == "cpu" else "wall_s"
        if run.finished and (took := read_json(run.record).get(clock)):
            whole = float(took) + hardware().processor.start_s
            ratios[run.config.device].append(whole / guess_s(run.config))
    found = {device: statistics.median(each) for device, each in ratios.items() if each}
    if kernel and "cpu" in found:
        found["cpu"] *= kernel.wall_s / kernel.cpu_s
    elif kernel:
        found["cpu"] = kernel.wall_s / hardware().processor.kernel_s
    return found
