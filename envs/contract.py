"""What all benchmarks share: the rollout of k attempts at one task, and what the record may know.

One Gymnasium episode is one *rollout*: `reset` draws a task and a variant of it, and the agent
then makes `attempts` attempts. The agent learns what it may know from the observation alone;
`info` holds what only the record may know, at the reset and at every step:

    task            str    name of the task, constant over the rollout
    split           str    "train" or "eval"
    attempt         int    0-based index of the attempt that the step belonged to

and, only on a step that ends an attempt,

    attempt_return  float  sum of the simulator's own rewards over the attempt
    success         bool   left out where the task knows no success
"""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

Observation = dict[str, NDArray[Any]]
Info = dict[str, Any]
Transition = tuple[Observation, float, bool, bool, Info]


class SimulatorMissing(RuntimeError):
    """A benchmark's simulator cannot be imported; the message is one sentence with the remedy."""


def require(module: str, extra: str) -> ModuleType:
    """Import a simulator's `module`, or raise `SimulatorMissing` naming the `extra` to install."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken package raises anything
        raise SimulatorMissing(
            f"the simulator package `{module}` cannot be imported ({error}): "
            f"install it with `pip install 'amago2[{extra}]'`"
        ) from error


def choose_tasks(
    requested: Sequence[str] | None, available: Sequence[str], key: str = "tasks"
) -> tuple[str, ...]:
    """The `requested` task names, all `available` ones if None; ValueError if one is unknown.

    `key` is the argument that listed them.
    """
    if requested is None:
        return tuple(available)
    if isinstance(requested, str) or len(requested) == 0:
        raise ValueError(f"{key}: expected a list of at least one name, not {requested!r}")
    if len(set(requested)) != len(requested):
        raise ValueError(f"{key}: a name is listed twice in {list(requested)}")
    for name in requested:
        check_choice(key, name, available)
    return tuple(requested)


def check_choice(key: str, value: object, choices: Sequence[object]) -> None:
    """ValueError, with the nearest correct choices, unless `value` is one of `choices`."""
    if value in choices:
        return
    names = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), names, n=3) or names
    raise ValueError(f"{key}: unknown value {value!r}; choose from {', '.join(near)}")


def check_positive(key: str, value: int) -> None:
    """ValueError unless `value` is at least 1."""
    if value < 1:
        raise ValueError(f"{key}: expected a whole number of at least 1, not {value}")


class StepResult(NamedTuple):
    """What one step of an attempt brought.

    A natural end is `over`; `truncated` says that a time limit cut the whole rollout short, so that
    its return would have gone on. `success` is read only where the attempt ends.
    """

    observation: Observation
    reward: float
    over: bool = False
    truncated: bool = False
    success: bool | None = None


class MultiTaskEnv(gymnasium.Env[Observation, Any], ABC):
    """Rollouts of `attempts` attempts at one of `tasks`; subclasses play single attempts.

    A rollout that has not ended after `horizon` steps, soft resets included, is truncated.
    `reward_scales` has a factor on the rewards that the agent gets for some tasks; returns of
    attempts are counted without it.

    A subclass sets `observation_space` (a Dict of fixed shapes) and `action_space`, and writes
    `_draw_variant`, `_begin_attempt` and `_play`, drawing every random number from `self.np_random`
    or from a generator seeded by it. It reads `self._task` and `self._attempt`.
    """

    # Whether the step after an attempt's end is spent on the soft reset (its action ignored, its
    # reward 0), or the next attempt's first observation already comes with the last reward.
    soft_reset_takes_step: ClassVar[bool] = True

    # Gymnasium types a Dict space by its parts, not by its samples.
    observation_space: gymnasium.spaces.Dict  # type: ignore[assignment]

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        split: str = "train",
        attempts: int = 1,
        horizon: int | None = None,
        reward_scales: Mapping[str, float] | None = None,
    ) -> None:
        check_choice("split", split, ("train", "eval"))
        check_positive("attempts", attempts)
        if horizon is not None:
            check_positive("horizon", horizon)
        self._tasks, self._split, self._attempts = tuple(tasks), split, attempts
        for task, scale in (reward_scales or {}).items():
            check_choice("reward_scales", task, self.known_tasks)
            if not isinstance(scale, int | float) or not 0 < scale < float("inf"):
                raise ValueError(f"reward_scales: {task}: expected a positive number, not {scale}")
        self._horizon, self._reward_scales = horizon, dict(reward_scales or {})
        self._steps = 0
        self._task = self._tasks[0]
        self._attempt = 0
        self._attempt_return = 0.0
        self._soft_reset_due = False
        self._running = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of all tasks of this environment's split."""
        return self._tasks

    @property
    def known_tasks(self) -> tuple[str, ...]:
        """Names of the tasks of all splits and sets: what a label tells apart."""
        return self._tasks

    @property
    def split(self) -> str:
        """The split, "train" or "eval"."""
        return self._split

    @property
    def attempts(self) -> int:
        """Number of attempts in one rollout."""
        return self._attempts

    @property
    def horizon(self) -> int | None:
        """The most steps in one rollout; None where only the tasks' own limits end attempts."""
        return self._horizon

    @abstractmethod
    def _draw_variant(self) -> None:
        """Draw the variant of `self._task` for the rollout that begins."""

    @abstractmethod
    def _begin_attempt(self) -> Observation:
        """Put the simulator at the start of attempt `self._attempt`; its first observation."""

    @abstractmethod
    def _play(self, action: Any) -> StepResult:
        """One step of the running attempt; `reward` is the simulator's own."""

    def _returned(self, reward: float) -> float:
        """The reward that the agent gets where the simulator gave `reward`: the same, usually."""
        return reward * self._reward_scales.get(self._task, 1.0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin a rollout. The seed decides task and variant; `options={"task": name}` the task."""
        super().reset(seed=seed)
        # Drawn even where the task is given, so that a seed means the same variant either way.
        task = self._tasks[int(self.np_random.integers(len(self._tasks)))]
        if options and "task" in options:
            task = options["task"]
            check_choice('options["task"]', task, self._tasks)
        self._task = task
        self._steps, self._attempt, self._attempt_return = 0, 0, 0.0
        self._soft_reset_due, self._running = False, True
        self._draw_variant()
        return self._begin_attempt(), self._info()

    def step(self, action: Any) -> Transition:
        """One step of the rollout, or, where it takes one, the soft reset between two attempts."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("the rollout has ended or not begun: call reset()")
        self._steps += 1
        late = self._steps == self._horizon
        if self._soft_reset_due:
            self._running = not late
            return self._soft_reset(), 0.0, False, late, self._info()
        result = self._play(action)
        self._attempt_return += result.reward
        if result.over or result.truncated or late:
            return self._end_attempt(result, result.truncated or late)
        return result.observation, self._returned(result.reward), False, False, self._info()

    def _end_attempt(self, result: StepResult, truncated: bool) -> Transition:
        info = self._info()
        info["attempt_return"] = self._attempt_return
        if result.success is not None:
            info["success"] = result.success
        reward = self._returned(result.reward)
        terminated = result.over and self._attempt + 1 == self._attempts
        truncated = truncated and not terminated
        self._running = not (terminated or truncated)
        self._soft_reset_due = self._running
        observation = result.observation
        if self._running and not self.soft_reset_takes_step:
            observation = self._soft_reset()
        return observation, reward, terminated, truncated, info

    def _soft_reset(self) -> Observation:
        self._attempt += 1
        self._attempt_return = 0.0
        self._soft_reset_due = False
        return self._begin_attempt()

    def _info(self) -> Info:
        return {"task": self._task, "split": self._split, "attempt": self._attempt}


def unbounded(size: int) -> gymnasium.spaces.Box:
    """The space of float32 vectors of shape (size,)."""
    return gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
