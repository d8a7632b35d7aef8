"""What a run takes, before it is run: steps, updates, and a rough guess of its time.

The guess counts the floating-point operations of an update and divides by a rate. The rates are
from measurements of the published implementation (26 updates/s of 24 x 128 tokens on an RTX A5000,
0.05 to 0.24 TFLOP/s on two CPU cores); the times of finished runs correct the guess.
"""

import statistics
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from amago2.config import (
    Config,
    FeedForwardEncoder,
    FeedForwardTrajectory,
    GridLanguageEncoder,
    GruTrajectory,
    ImageEncoder,
    RunConfig,
)
from amago2.sizes import learner_bytes
from workflow.baselines.config import BaselineConfig, PpoGruConfig, SacConfig
from workflow.dag import Run
from workflow.receipts import read

INPUTS, ACTIONS, SIDE, TOKENS = 40, 12, 64, 9
"""Sizes of a typical observation and action space: the real ones need the simulator."""
START_S = 5.0
"""Loading PyTorch and the simulators."""
SMALL_BYTES = 1e9
"""What an update of a baseline takes of a GPU, at most."""


class Rates(NamedTuple):
    """What a device does in a second."""

    flops: float
    updates: float
    """At most, however small they are."""
    env_steps: float


RATES = {"cpu": Rates(7e10, 100, 3000), "cuda": Rates(1e13, 26, 3000)}
"""A CPU thread; one GPU with the threads that feed it."""


def env_steps(config: RunConfig) -> int:
    """Environment steps of all actors."""
    return config.collector.actors * config.collector.steps_per_epoch * config.collector.epochs


def updates(config: RunConfig) -> int:
    """Gradient steps."""
    if isinstance(config, BaselineConfig):
        return config.updates
    assert isinstance(config, Config)
    learning = max(0, config.collector.epochs - config.collector.learn_after)
    return config.learner.updates_per_epoch * learning


def gpu_bytes(config: RunConfig) -> int:
    """Memory that a run claims of a GPU: what an update takes by estimate, half as much again for
    weights and workspaces, and what CUDA itself takes. 0 for a run without one."""
    if config.device != "cuda":
        return 0
    update = learner_bytes(config) if isinstance(config, Config) else SMALL_BYTES
    return int(1.5 * update + 1.5e9)


def guess_s(config: RunConfig) -> float:
    """Rough seconds that a run takes, evaluation left out."""
    rates = RATES[config.device]
    threads = config.threads if config.device == "cpu" else 1
    update = flops_per_update(config) / (rates.flops * threads) + 1 / rates.updates
    return START_S + updates(config) * update + env_steps(config) / rates.env_steps


def flops_per_update(config: RunConfig) -> float:
    """Forward and backward through all nets, a multiplication and an addition counting as two."""
    if isinstance(config, PpoGruConfig):
        p = config.ppo
        tokens = config.collector.actors * p.steps // p.minibatches
        states = _encoder(config.encoder) + 6 * p.width * (config.encoder.output + p.width)
        return 6 * tokens * (states + 2 * _mlp([p.width, *p.head_widths, ACTIONS]))
    if isinstance(config, SacConfig):  # actor, two critics, their targets
        return 6 * config.sac.batch * 5 * _mlp([INPUTS, *config.sac.widths, ACTIONS])
    assert isinstance(config, Config)
    tokens = config.learner.batch * (config.trajectory.context + 1)
    return 2 * tokens * (3 * _trunk(config) + _heads(config))


def _trunk(config: Config) -> int:
    """Multiplications per token of encoder and Transformer, forward."""
    t = config.trajectory
    if isinstance(t, GruTrajectory):
        layer = 6 * t.width**2
    elif isinstance(t, FeedForwardTrajectory):
        layer = 2 * t.width * t.feedforward
    else:
        layer = 4 * t.width**2 + 2 * t.width * t.feedforward + t.context * t.width
    return _encoder(config.encoder) + config.encoder.output * t.width + t.layers * layer


def _encoder(e: FeedForwardEncoder | ImageEncoder | GridLanguageEncoder) -> int:
    if isinstance(e, FeedForwardEncoder):
        return _mlp([INPUTS, *e.hidden, e.output])
    if isinstance(e, GridLanguageEncoder):
        return 60_000 + TOKENS * e.recurrent * (e.embedding + e.recurrent) + 900 * e.output
    if e.trunk == "nature":
        return 9_000_000 + 3_000 * e.features
    side, channels, total = SIDE, 3, 0
    for depth in e.depths:  # a convolution, then four at half the resolution
        total += 9 * side**2 * (channels * depth + depth**2)
        side, channels = side // 2, depth
    return total + side**2 * channels * e.features


def _heads(config: Config) -> int:
    """Multiplications per token of actor and critics: three forwards' worth where they learn."""
    a = config.agent
    discounts, width = len(a.discounts), config.trajectory.width
    actor = 4 * _mlp([width, *a.head_widths, discounts * ACTIONS])  # learned, and the target
    if a.critic == "popart":
        return actor + 5 * a.critics * _mlp([width, *a.head_widths, discounts * ACTIONS])
    samples = ACTIONS if a.expectation == "exact" else a.value_samples
    ascent = 2 if a.actor == "policy_gradient" else samples
    each = discounts * _mlp([*a.head_widths, a.bins])  # the state's own product is made once
    return actor + a.critics * (4 * width * a.head_widths[0] + (4 + ascent) * each)


def _mlp(sizes: list[int]) -> int:
    return sum(before * after for before, after in pairwise(sizes))


def correction(runs: Iterable[Run]) -> dict[str, float]:
    """By device: what to multiply guesses by, from the times that finished runs took."""
    ratios: dict[str, list[float]] = {}
    for run in runs:
        if run.finished and (wall := read(run.record).get("wall_s")):
            ratio = (float(wall) + START_S) / guess_s(run.config)
            ratios.setdefault(run.config.device, []).append(ratio)
    return {device: statistics.median(found) for device, found in ratios.items()}
