"""What a run's versioned files take on disk, before it is run.

Sizes of stored timesteps are those of the `smoke` runs of each benchmark, whose policies are close
to random (docs/versions.md); the sizes that finished runs' pointers give correct the guess.
"""

import statistics
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from amago2.config.layers import read_yaml
from amago2.config.schema import (
    AmagoConfig,
    FeedForwardEncoderConfig,
    GruConfig,
    ImageEncoderConfig,
    RunConfig,
)
from workflow.dag.runs import Run

STEP_BYTES = {
    "envs.popgym": 7.0,
    "envs.metaworld": 51,
    "envs.procgen": 755,
    "envs.atari": 193,
    "envs.retro": 135,
    "envs.babyai": 11,
    "envs.return_scale": 25,
}
"""Of a timestep in published replay, compressed, by the environment's module."""
VECTOR_BYTES, IMAGE_BYTES = 50, 500
"""The same for any other environment."""
COPIES = 4
"""Networks in a checkpoint: the trained ones, their targets, two averages of the optimiser."""
BASELINE_BYTES = 2e6
"""A baseline's checkpoint; it has no replay."""
INPUTS, ACTIONS = 40, 12
"""Sizes of a typical observation and action space."""


class Disk(NamedTuple):
    """Bytes of what DVC versions."""

    checkpoint: float = 0
    replay: float = 0

    @property
    def total(self) -> float:
        """Both."""
        return self.checkpoint + self.replay


def add_up(runs: Iterable[Run]) -> Disk:
    """Of all these runs: what their pointers say if they are versioned, else a guess."""
    runs = list(runs)
    correction = _correction(runs)
    parts = [_run(run, correction) for run in runs]
    return Disk(sum(part.checkpoint for part in parts), sum(part.replay for part in parts))


def guess(config: RunConfig) -> Disk:
    """Rough bytes of a run's checkpoint, and of its replay if that is versioned."""
    if not isinstance(config, AmagoConfig):
        return Disk(BASELINE_BYTES)
    replay = stored_steps(config) * _step_bytes(config) if config.checkpoint.with_replay else 0.0
    return Disk(4 * COPIES * parameters(config), replay)


def stored_steps(config: AmagoConfig) -> float:
    """Timesteps in the finished run's replay."""
    c, r = config.collector, config.replay
    collected = c.actors * c.steps_per_epoch * c.epochs
    if r.unit == "timesteps":
        return min(collected, r.capacity)
    return min(collected, r.capacity * (r.chunk_length or config.trajectory_encoder.context_length))


def _step_bytes(config: AmagoConfig) -> float:
    module = config.env.entry_point.partition(":")[0]
    other = IMAGE_BYTES if isinstance(config.timestep_encoder, ImageEncoderConfig) else VECTOR_BYTES
    return STEP_BYTES.get(module, other)


def parameters(config: AmagoConfig) -> float:
    """Trained numbers, roughly."""
    t, a, e = config.trajectory_encoder, config.agent, config.timestep_encoder
    layer = 6 * t.width**2 if isinstance(t, GruConfig) else 2 * t.width**2
    if not isinstance(t, GruConfig):
        layer = 2 * t.width * t.feedforward_size + 4 * t.width**2
    encoder = 1e5
    if isinstance(e, FeedForwardEncoderConfig):
        encoder = _mlp([INPUTS, *e.hidden_sizes, e.output_size])
    elif isinstance(e, ImageEncoderConfig):
        encoder = 64 * e.channels[-1] * e.features + 9.0 * sum(5 * depth**2 for depth in e.channels)
    discounts = len(a.discounts)
    outputs = a.bins if a.critic == "two_hot" else ACTIONS
    critic = _mlp([t.width + ACTIONS + discounts, *a.head_hidden_sizes, outputs])
    actor = _mlp([t.width, *a.head_hidden_sizes, discounts * ACTIONS])
    return encoder + e.output_size * t.width + t.layers * layer + actor + a.num_critics * critic


def _mlp(sizes: list[int]) -> float:
    return sum(before * after for before, after in pairwise(sizes))


def _run(run: Run, correction: dict[tuple[str, str], float]) -> Disk:
    known, guessed = _known(run), guess(run.config)
    parts = {}
    for part, value in guessed._asdict().items():
        parts[part] = known.get(part) or value * correction.get((part, run.config.benchmark), 1)
    return Disk(**parts)


def _known(run: Run) -> dict[str, float]:
    """Bytes that the run's pointers name."""
    found = {pointer.stem: read_yaml(pointer) for pointer in run.pointers if pointer.is_file()}
    return {part: float(content["outs"][0].get("size", 0)) for part, content in found.items()}


def _correction(runs: Iterable[Run]) -> dict[tuple[str, str], float]:
    """By part and benchmark: what to multiply guesses by, from the sizes of finished runs."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        guessed = guess(run.config)._asdict()
        for part, size in _known(run).items():
            if size and guessed[part]:
                ratios.setdefault((part, run.config.benchmark), []).append(size / guessed[part])
    return {key: statistics.median(values) for key, values in ratios.items()}
