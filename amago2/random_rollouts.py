"""Rollouts of random actions that a seed determines, for `check-env`."""

import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amago2.env.boundary import Attempt
from amago2.env.masks import mask_problem
from amago2.env.observations import MASK_KEY
from amago2.env.spaces import ActionSpec, Array
from amago2.env.vector_env import VectorEnv

ROLLOUTS = 20
SECONDS = 5.0
"""After which no more rollouts begin."""


@dataclass
class RandomRollout:
    """A rollout of random actions that a seed determines."""

    seed: int
    task: str | None
    """That was asked for."""
    label: str = ""
    trace: list[tuple[Any, ...]] = field(default_factory=list)
    """Digests of each observation by key, then reward, terminated and truncated."""
    attempts: list[Attempt] = field(default_factory=list)
    ended: bool = False

    @property
    def rewards(self) -> list[float]:
        """One of each step."""
        return [step[1] for step in self.trace[1:]]


def play(envs: VectorEnv, row: int, seed: int, task: str | None, steps: int) -> RandomRollout:
    """Play a rollout to its end, or for some steps."""
    rng = np.random.default_rng(seed)
    rollout = RandomRollout(seed, task)
    masked = MASK_KEY in envs.observations and not mask_problem(envs.observations, envs.actions)
    envs.reset([row], [seed], [None if task is None else {"task": task}])
    rollout.trace.append((_digests(envs, row), 0.0, False, False))
    rollout.label = envs.task(row)
    for _ in range(steps):
        mask = envs.observation[MASK_KEY][row] if masked else None
        action = _random_actions(envs.actions, rng, mask)
        reward, terminated, truncated = (x[0] for x in envs.step(action, np.array([row])))
        rollout.trace.append(
            (_digests(envs, row), float(reward), bool(terminated), bool(truncated))
        )
        if attempt := envs.attempts[row]:
            rollout.attempts.append(attempt)
        if terminated or truncated:
            rollout.ended = True
            break
    return rollout


def _digests(envs: VectorEnv, row: int) -> dict[str, int]:
    return {key: zlib.crc32(x[row].tobytes()) for key, x in envs.observation.items()}


def _random_actions(
    actions: ActionSpec, rng: np.random.Generator, mask: Array | None = None
) -> Array:
    """The stored form of one uniform action, (1,) or (1, A); now and then an extreme one.

    A `mask` (A,) says which discrete actions may be drawn.
    """
    if actions.kind == "discrete":
        drawn = rng.integers(actions.size, size=1)
        if mask is not None and mask.any():
            drawn = np.flatnonzero(mask)[drawn % np.count_nonzero(mask)]
        return drawn.astype(actions.stored.base)
    if actions.kind == "multibinary":
        return rng.integers(2, size=(1, actions.size)).astype(actions.stored.base)
    if actions.kind == "product":
        masks = [None] * len(actions.parts) if mask is None else actions.split(mask)
        each = zip(actions.parts, masks, strict=True)
        parts = [part.represent(_random_actions(part, rng, allowed)) for part, allowed in each]
        return np.concatenate(parts, -1)
    uniform = np.clip(rng.uniform(-1.2, 1.2, (1, actions.size)), -1, 1)
    return uniform.astype(actions.stored.base)


def play_many(envs: VectorEnv, steps: int) -> list[RandomRollout]:
    """Rollouts of every task in turn, until there are enough of them, of steps, or of seconds."""
    tasks: tuple[str | None, ...] = envs.tasks or (None,)
    found: list[RandomRollout] = []
    began = time.monotonic()
    while steps > 0 and len(found) < max(ROLLOUTS, len(tasks)):
        number = len(found)
        found.append(play(envs, 0, number, tasks[number % len(tasks)], steps))
        steps -= len(found[-1].rewards)
        if time.monotonic() - began > SECONDS:
            break
    return found


def difference(one: RandomRollout, other: RandomRollout) -> str | None:
    """What differs first between two rollouts, as far as both were played."""
    if one.label != other.label:
        return f"the task ({one.label!r} and {other.label!r})"
    for step, (a, b) in enumerate(zip(one.trace, other.trace, strict=False)):
        at = f"step {step}" if step else "reset"
        for key, digest in a[0].items():
            if digest != b[0][key]:
                return f"observation {key!r} of {at}"
        if a[1] != b[1]:
            return f"the reward of {at} ({a[1]:g} and {b[1]:g})"
        if a[2:] != b[2:]:
            return f"whether {at} ends the rollout"
    return None
