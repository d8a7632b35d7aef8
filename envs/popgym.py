"""Multi-Task POPGym, one-shot: 27 memory tasks, one attempt to explore and one that counts.

The agent meets a task without being told which. In the first attempt it sees the task's rewards in
its observation but the environment returns 0; then the task begins anew (cards shuffled again,
other bandit arms), and the second attempt's rewards are returned. Between the two, one step is
spent on the soft reset: its action is ignored and its reward is 0.

Observation {"observation": (29,) float32}:

    [0:26]   the task's own observation, flattened (integers one-hot), zeros behind it
    [26]     attempt progress: 0 while exploring, 1 in the attempt that counts
    [27]     1 if the previous action was one of the task's, else 0; 1 after a reset
    [28]     the task's own reward for the previous action, also while exploring

Actions are Discrete(27), the largest task's number; one that the running task does not have is
replaced by a uniformly drawn one that it has, and flagged in [27].

Two differences from the published environment. popgym 1.0.7 has a task with 27 actions, the
authors' version had 26. The rollout ends with the last attempt's last step; the published one
spends one more step, without reward, to say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.contract import (
    MultiTaskEnv,
    Observation,
    StepResult,
    check_choice,
    choose_tasks,
    require,
    unbounded,
)

OBSERVATION_SIZE = 26
ACTIONS = 27

_LEVELS = ("Easy", "Medium", "Hard")
_FAMILIES = {
    "Autoencode": _LEVELS,
    "RepeatPrevious": _LEVELS,
    "RepeatFirst": _LEVELS,
    "CountRecall": _LEVELS,
    "PositionOnlyCartPole": _LEVELS,
    "VelocityOnlyCartPole": _LEVELS,
    "NoisyPositionOnlyCartPole": _LEVELS,
    "MultiarmedBandit": _LEVELS[:2],
    "HigherLower": _LEVELS,
    "MineSweeper": _LEVELS[:1],
}
# The multi-task benchmark, by the names of the installed classes.
TASKS = tuple(family + level for family, levels in _FAMILIES.items() for level in levels)
# Not part of the benchmark; the paper trains on it alone. Needs `padded_actions: 64`.
SINGLE_TASKS = ("BattleshipEasy",)


def one_hot_sizes(space: spaces.Space[Any]) -> list[int]:
    """Number of values of each integer in a sample of a discrete `space`."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in space.nvec]
    if isinstance(space, spaces.Tuple):
        return [size for part in space.spaces for size in one_hot_sizes(part)]
    raise TypeError(f"popgym task with an observation space of an unknown kind: {space}")


def flattener(space: spaces.Space[Any]) -> tuple[int, Callable[[Any, NDArray[np.float32]], None]]:
    """(size, write): `write(sample, out)` puts a flattened sample into the zeros out[:size]."""
    if isinstance(space, spaces.Box):

        def write_numbers(sample: Any, out: NDArray[np.float32]) -> None:
            out[: len(sample)] = sample

        return int(np.prod(space.shape)), write_numbers
    sizes = one_hot_sizes(space)
    starts = list(itertools.accumulate(sizes, initial=0))

    def write_one_hot(sample: Any, out: NDArray[np.float32]) -> None:
        values = (sample,) if isinstance(sample, int | np.integer) else sample
        for start, value in zip(starts[:-1], values, strict=True):
            out[start + value] = 1

    return starts[-1], write_one_hot


class Simulator:
    """One popgym task with integer actions 0 .. `actions` - 1 and a flat observation.

    Args:
        name: class name in `popgym.envs`.
    """

    def __init__(self, name: str) -> None:
        self.env: gymnasium.Env[Any, Any] = getattr(require("popgym.envs", "popgym"), name)()
        self.observation_size, self.write = flattener(self.env.observation_space)
        space = self.env.action_space
        assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
        # The simulator's own action for each index.
        self.raw_actions: Sequence[Any] = (
            range(int(space.n))
            if isinstance(space, spaces.Discrete)
            else list(np.ndindex(*space.nvec))
        )
        self.actions = len(self.raw_actions)


class MultiTaskPOPGym(MultiTaskEnv):
    """Rollouts of `attempts` attempts at one POPGym task, of which the last counts.

    Args:
        tasks: names out of `TASKS` (all of them if None) and `SINGLE_TASKS`.
        attempts: 2 for the one-shot benchmark; 1 leaves out the exploration attempt.
        padded_observation: room for the task's own observation; the vector is 3 longer.
        padded_actions: number of actions.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str] | None = None,
        attempts: int = 2,
        padded_observation: int = OBSERVATION_SIZE,
        padded_actions: int = ACTIONS,
    ) -> None:
        check_choice("attempts", attempts, (1, 2))
        names = TASKS if tasks is None else choose_tasks(tasks, TASKS + SINGLE_TASKS)
        super().__init__(tasks=names, attempts=attempts)
        self._padded_observation, self._padded_actions = padded_observation, padded_actions
        vector = unbounded(padded_observation + 3)
        self.observation_space = spaces.Dict({"observation": vector})
        self.action_space = spaces.Discrete(padded_actions)
        self._simulators = {name: self._build(name) for name in names}
        self._simulator = self._simulators[names[0]]
        self._variant: int | None = None

    def _build(self, name: str) -> Simulator:
        simulator = Simulator(name)
        needed = {
            "padded_observation": (simulator.observation_size, self._padded_observation),
            "padded_actions": (simulator.actions, self._padded_actions),
        }
        for key, (size, room) in needed.items():
            if size > room:
                raise ValueError(f"{key}: the installed popgym's {name} needs {size}, not {room}")
        return simulator

    def _draw_variant(self) -> None:
        self._simulator = self._simulators[self._task]
        self._variant = int(self.np_random.integers(2**31))

    def _begin_attempt(self) -> Observation:
        # Seeded once a rollout: the next attempt goes on with the simulator's own generator.
        sample, _ = self._simulator.env.reset(seed=self._variant)
        self._variant = None
        return self._observe(sample, valid=True, reward=0.0)

    def _play(self, action: Any) -> StepResult:
        simulator, index = self._simulator, int(action)
        valid = 0 <= index < simulator.actions
        if not valid:
            index = int(self.np_random.integers(simulator.actions))
        sample, reward, terminated, truncated, _ = simulator.env.step(simulator.raw_actions[index])
        reward = float(reward)
        return StepResult(self._observe(sample, valid, reward), reward, terminated or truncated)

    def _observe(self, sample: Any, valid: bool, reward: float) -> Observation:
        vector = np.zeros(self._padded_observation + 3, np.float32)
        self._simulator.write(sample, vector)
        counts = self._attempt == self._attempts - 1
        vector[-3:] = (counts, valid, reward)
        return {"observation": vector}

    def _returned(self, reward: float) -> float:
        return reward if self._attempt == self._attempts - 1 else 0.0

    def close(self) -> None:
        """Close all simulators."""
        for simulator in self._simulators.values():
            simulator.env.close()
