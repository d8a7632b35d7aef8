"""Epsilon schedules and the noise they drive. Noise is applied before an action is stored."""

import numpy as np

from amago2.config.schema import ExplorationConfig
from amago2.env.spaces import ActionSpec, Array

FLIP = 0.15
"""MultiBinary: chance that an exploring step flips each button."""


def _annealed(ends: tuple[float, float], progress: float) -> float:
    start, end = ends
    return start + (end - start) * min(1.0, progress)


def epsilon(config: ExplorationConfig, steps: int, time: Array, scale: Array) -> Array:
    """Epsilon (N,) of actors that took `steps` steps each and are at `time` (N,) of a rollout.

    `scale` (N,) is each rollout's uniform draw (1 where the schedule is not randomised).
    """
    progress = steps / config.anneal_steps
    first = _annealed(config.first_step_epsilon, progress)
    if config.last_step_epsilon is None or config.horizon is None:
        return scale * first
    last = _annealed(config.last_step_epsilon, progress)
    return scale * (first - (first - last) * np.minimum(1.0, time / config.horizon))


def explore(spec: ActionSpec, actions: Array, eps: Array, rng: np.random.Generator) -> Array:
    """Stored-form actions (N,) or (N, A) with noise of strength eps (N,).

    Discrete: a uniform action with probability eps. Continuous: plus eps times a normal, clipped.
    MultiBinary: with probability eps, each button flips with probability `FLIP`.
    """
    if spec.kind == "continuous":
        noisy = actions + eps[:, None] * rng.standard_normal(actions.shape)
        return np.clip(noisy, -1, 1).astype(np.float32)
    if spec.kind == "discrete":
        chance, draw = rng.random((2, len(actions)))
        return np.where(chance < eps, (draw * spec.size).astype(actions.dtype), actions)
    exploring = rng.random(len(actions)) < eps
    flips = (rng.random(actions.shape) < FLIP) & exploring[:, None]
    return np.where(flips, 1 - actions, actions).astype(np.uint8)
