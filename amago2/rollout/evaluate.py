"""Evaluation: a fixed number of complete rollouts of every task, with sampled actions."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.rollout.acting import Policy, act
from amago2.seeding import Stream, integer, torch_rng

LONGEST_ROLLOUT = 30_000
"""Timesteps of an evaluation rollout from which on it is taken never to end, if no limit is set."""
WHOLE_ROLLOUT = -1
"""Attempt number of a metric that belongs to the whole rollout."""


@dataclass(frozen=True)
class EvaluationRow:
    """One tidy evaluation result."""

    split: str
    rollout: int
    task: str
    attempt: int
    metric: str
    value: float


@dataclass(frozen=True)
class _Rollout:
    number: int
    seed: int
    options: dict[str, Any] | None


class RolloutStep(NamedTuple):
    """The environment, rollout and timestep of an action."""

    row: int
    """Index of the environment."""
    rollout: int
    """Index of the task times the rollouts per task, plus the index among those."""
    timestep: int


Callback = Callable[[Sequence[RolloutStep]], None]


def evaluate(
    agent: Policy,
    envs: VectorEnv,
    split: str,
    rollouts: int,
    seed: int,
    counter: int,
    callback: Callback | None = None,
) -> list[EvaluationRow]:
    """Run `rollouts` rollouts of each task; every one counts, however long it takes.

    An environment without `tasks` counts as one task. `counter` numbers the evaluations of
    a run. `callback` is called after each action. Raises `RunError` for a rollout of
    `LONGEST_ROLLOUT` steps, unless a limit is set.
    """
    tasks: tuple[str | None, ...] = envs.tasks or (None,)
    jobs = deque(
        _Rollout(
            t * rollouts + k,
            integer(seed, Stream.EVALUATION, counter, t, k),
            None if task is None else {"task": task},
        )
        for t, task in enumerate(tasks)
        for k in range(rollouts)
    )
    rng = torch_rng(seed, Stream.EVALUATION_ACTING, counter, device=agent.device)
    rows: list[EvaluationRow] = []
    agent.eval()
    _Evaluation(agent, envs, jobs, split, rows, callback).run(rng)
    return sorted(rows, key=lambda row: (row.rollout, row.attempt, row.metric))


class _Evaluation:
    """Runs the rollouts, starting the next one wherever an environment has finished."""

    def __init__(
        self,
        agent: Policy,
        envs: VectorEnv,
        jobs: deque[_Rollout],
        split: str,
        rows: list[EvaluationRow],
        callback: Callback | None,
    ) -> None:
        self.callback = callback
        self.agent, self.envs, self.waiting, self.split, self.rows = agent, envs, jobs, split, rows
        n = len(envs)
        self.memory = agent.initial_memory(n)
        self.running: list[_Rollout | None] = [None] * n
        self.reward = np.zeros(n)
        self.action = np.stack([envs.actions.blank()] * n)
        self.returns = np.zeros(n)
        self.time = np.zeros(n, np.int64)

    def run(self, rng: torch.Generator) -> None:
        self._next(range(len(self.envs)))
        while any(self.running):
            actions = act(self.agent, self.envs, self.reward, self.action, self.memory, rng)
            busy = np.flatnonzero([rollout is not None for rollout in self.running])
            if self.callback is not None:
                self.callback(
                    [
                        RolloutStep(row, rollout.number, int(self.time[row]))
                        for row, rollout in enumerate(self.running)
                        if rollout is not None
                    ]
                )
            self._step(busy, actions[busy])

    def _step(self, busy: Array, actions: Array) -> None:
        reward, terminated, truncated = self.envs.step(actions, busy)
        self.reward[busy], self.action[busy] = reward, actions
        self.returns[busy] += reward
        self.time[busy] += 1
        ended = []
        for i, row in enumerate(busy.tolist()):
            if attempt := self.envs.attempts[row]:
                self._record(row, attempt.number, "attempt_return", attempt.value)
                if attempt.success is not None:
                    self._record(row, attempt.number, "success", attempt.success)
            if terminated[i] or truncated[i]:
                self._record(row, WHOLE_ROLLOUT, "return", float(self.returns[row]))
                for metric, value in self.envs.measured[row].items():
                    self._record(row, WHOLE_ROLLOUT, metric, value)
                ended.append(row)
        self._next(ended)
        self._refuse_endless()

    def _refuse_endless(self) -> None:
        """Raise `RunError` for a rollout without an end in sight."""
        limit = self.envs.max_episode_steps
        if limit is None and self.time.max() >= LONGEST_ROLLOUT:
            row = int(self.time.argmax())
            raise RunError(
                f"{self.envs.origin.name}, actor {row}: an evaluation rollout (task "
                f"{self.envs.task(row)}) has not ended after {LONGEST_ROLLOUT:,} steps; set "
                "env.max_episode_steps, after which rollouts are truncated"
            )

    def _record(self, row: int, attempt: int, metric: str, value: float) -> None:
        rollout = self.running[row]
        assert rollout is not None
        self.rows.append(
            EvaluationRow(self.split, rollout.number, self.envs.task(row), attempt, metric, value)
        )

    def _next(self, rows: Sequence[int]) -> None:
        """Start the next rollouts, as long as there are any, in some rows."""
        begun: dict[int, _Rollout] = {}
        for row in rows:
            rollout = self.running[row] = self.waiting.popleft() if self.waiting else None
            if rollout is not None:
                begun[row] = rollout
                self.memory.reset(row)
                self.reward[row] = self.returns[row] = 0.0
                self.time[row] = 0
                self.action[row] = self.envs.actions.blank()
        jobs = begun.values()
        self.envs.reset(
            list(begun), [rollout.seed for rollout in jobs], [rollout.options for rollout in jobs]
        )
