"""Replaying rollouts in fresh environments when a run is resumed, and whether they repeat.

An environment repeats if the same seed and actions give the same rollout. One that draws from
another generator than that of `reset(seed)`, or whose state outlives `reset`, does not.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.printing import warn

ROW = 0
"""The actor whose finished rollouts are replayed."""
MAX_STEPS = 1000
"""Longer finished rollouts are not replayed, which would take too long."""


FINISHED = "history.finished"


class Replayed(NamedTuple):
    """What replaying showed."""

    dropped: int
    """Unfinished rollouts that did not repeat: they are dropped, and others begun."""
    exact: bool
    """Whether all that was replayed repeated, the last finished rollout included."""


def fingerprint(envs: VectorEnv, row: int, value: float, tokens: Array | None = None) -> str:
    """SHA-256 of what is known of a rollout: last observation, sum of rewards, task, and tokens."""
    sha = hashlib.sha256(f"{value!r} {envs.task(row)}".encode())
    for _, array in sorted(envs.observation.items()):
        sha.update(array[row].tobytes())
    if tokens is not None:
        sha.update(tokens.tobytes())
    return sha.hexdigest()


def read_actions(envs: VectorEnv, tensors: Mapping[str, Tensor], name: str) -> Array:
    """Actions (T, ...) in stored form; none if there is no such tensor.

    Raises `RunError` if they are of another shape or type.
    """
    stored = envs.actions.stored
    if name not in tensors:
        return np.zeros((0, *stored.shape), stored.base)
    found: Array = tensors[name].numpy()
    if found.shape[1:] != stored.shape or found.dtype != stored.base or not found.ndim:
        raise RunError(f"{name} in the checkpoint holds no actions of this environment")
    if not envs.actions.holds(found):
        raise RunError(f"{name} in the checkpoint holds actions that this environment has not")
    return found


def step_again(
    envs: VectorEnv, row: int, actions: Array
) -> Iterator[tuple[Array, Array, Array, bool]]:
    """Step one environment by actions (T, ...): action, reward and terminated, of one row each.

    The last value says whether the rollout is over. An environment that fails now, as it did not
    before, ends the steps with a warning.
    """
    for action in actions:
        try:
            reward, terminated, truncated = envs.step(action[None], np.array([row]))
        except RunError as error:
            warn(f"when a rollout was replayed: {error}")
            return
        yield action[None], reward, terminated, bool(terminated[0] or truncated[0])


class LastFinished:
    """The last finished rollout of one actor.

    It can show what unfinished ones do not: those that have just begun, or have yet to differ.
    """

    def __init__(self) -> None:
        self.actions: Array | None = None
        self.seed, self.fingerprint = 0, ""

    def remember(self, envs: VectorEnv, seed: int, actions: list[Array], value: float) -> None:
        """Keep the rollout that row `ROW` of the environments has just finished."""
        if len(actions) <= MAX_STEPS:
            self.actions = np.stack(actions)
            self.seed, self.fingerprint = seed, fingerprint(envs, ROW, value)

    def repeats(self, envs: VectorEnv) -> bool:
        """Whether it ends at the same step, with the same fingerprint; True if none is known."""
        if self.actions is None:
            return True
        envs.reset([ROW], [self.seed])
        value, steps, over = 0.0, 0, False
        for _, reward, _, over in step_again(envs, ROW, self.actions):
            value, steps = value + float(reward[0]), steps + 1
            if over:
                break
        whole = over and steps == len(self.actions)
        return whole and fingerprint(envs, ROW, value) == self.fingerprint

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint keeps of it: tensors, and JSON values."""
        tensors = {} if self.actions is None else {FINISHED: torch.from_numpy(self.actions)}
        return tensors, {"seed": self.seed, "fingerprint": self.fingerprint}

    def load_state_dict(
        self, envs: VectorEnv, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> None:
        """Load what `state_dict` gave. Raises `RunError` for actions of another shape or type."""
        self.actions = read_actions(envs, tensors, FINISHED) if FINISHED in tensors else None
        self.seed, self.fingerprint = values["seed"], values["fingerprint"]
