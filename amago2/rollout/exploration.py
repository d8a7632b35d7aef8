"""Epsilon schedules and the noise they drive. Noise is applied before an action is stored."""

from typing import Any, Protocol

import numpy as np

from amago2.config.schema import ExplorationConfig
from amago2.env.importing import make_part
from amago2.env.spaces import ActionSpec, Array
from amago2.errors import ConfigError, RunError

FLIP = 0.15
"""MultiBinary: chance that an exploring step flips each button."""


class Exploration(Protocol):
    """Exploration of one's own; called before each step of all actors."""

    def __call__(self, actions: Array, steps: int, time: Array, rng: np.random.Generator) -> Array:
        """What the actors do instead of `actions` (N,) or (N, A), in stored form.

        They took `steps` steps each in the run, and `time` (N,) in their rollouts.
        """


def make_exploration(config: ExplorationConfig) -> Exploration | None:
    """The configured exploration of one's own. Raises `ConfigError` if it cannot be made."""
    if config.entry_point is None:
        return None
    key = "collector.exploration.entry_point"
    made = make_part(key, config.entry_point, config.kwargs or {})
    if not callable(made):
        raise ConfigError(f"{key} is {config.entry_point!r}, which makes nothing to be called")
    explorer: Exploration = made
    return explorer


def checked(spec: ActionSpec, returned: Any, like: Array, path: str) -> Array:
    """Actions that an exploration of one's own returned. Raises `RunError` if they are none."""
    found = np.asarray(returned)
    if found.shape == like.shape and found.dtype.kind in "biuf":
        taken: Array = found.astype(like.dtype)
        bounded = spec.kind == "discrete" or bool((np.abs(taken) <= 1).all())
        allowed = spec.kind != "discrete" or bool((taken >= 0).all())
        if spec.holds(taken) and bounded and allowed:
            return taken
    raise RunError(
        f"{path} returned {found.dtype} of shape {found.shape} that are no actions; they must be "
        f"like the {like.dtype} of shape {like.shape} that it is given"
    )


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


def explore(
    spec: ActionSpec,
    actions: Array,
    eps: Array,
    rng: np.random.Generator,
    mask: Array | None = None,
) -> Array:
    """Stored-form actions (N,) or (N, A) with noise of strength eps (N,).

    Discrete: a uniform action with probability eps. Continuous: plus eps times a normal, clipped.
    MultiBinary: with probability eps, each button flips with probability `FLIP`. Actions of several
    parts: each part by itself. A `mask` (N, A) says which discrete actions may be drawn.
    """
    if spec.kind == "continuous":
        noisy = actions + eps[:, None] * rng.standard_normal(actions.shape)
        return np.clip(noisy, -1, 1).astype(np.float32)
    if spec.kind == "discrete":
        chance, draw = rng.random((2, len(actions)))
        drawn = draw * spec.size if mask is None else _allowed(draw, mask)
        return np.where(chance < eps, drawn.astype(actions.dtype), actions)
    if spec.kind == "product":
        parts = []
        masks = [None] * len(spec.parts) if mask is None else spec.split(mask)
        for part, own, allowed in zip(spec.parts, spec.split(actions), masks, strict=True):
            parts.append(part.represent(explore(part, part.store(own), eps, rng, allowed)))
        return np.concatenate(parts, -1)
    exploring = rng.random(len(actions)) < eps
    flips = (rng.random(actions.shape) < FLIP) & exploring[:, None]
    return np.where(flips, 1 - actions, actions).astype(np.uint8)


def _allowed(draw: Array, mask: Array) -> Array:
    """For draws (N,) in [0, 1), indices of actions that a mask (N, A) allows; any if it is 0."""
    allowed = np.where(mask.any(-1, keepdims=True), mask, 1) > 0
    number = np.floor(draw * allowed.sum(-1))  # of the action among those that are allowed
    index: Array = (allowed.cumsum(-1) <= number[:, None]).sum(-1)
    return index
