"""Cue recall at four reward scales: the paper's central question at a size for two CPU cores.

All tasks are one small memory game. A cue, one of four, is shown at the first of ten steps only;
the right action at every step is (cue + task) mod 4. A right action earns scale / 10, any other 0,
so that a perfect attempt returns the task's scale whatever that is: 1, 10, 100 or 1000. An agent
whose loss grows with returns hears only the tasks with the large ones.

Which task it is must be *seen*: every observation holds the task's look, six fixed numbers plus
fresh Gaussian noise. A look is how a task appears, as one game's screen differs from another's; it
is no label (index, name or one-hot), and it tells nothing of the scale: environments that differ
in `scales` alone show the same observations, bit for bit.

Observation {"observation": (12,) float32}:

    [0:4]    the cue, one-hot, at the first step of an attempt; zeros later
    [4:10]   the task's look plus noise
    [10]     reset flag: 1 at the first step of an attempt, else 0
    [11]     share of the rollout's steps already taken, in [0, 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.contract import MultiTaskEnv, Observation, StepResult, unbounded

CUES = 4
LOOK_SIZE = 6
OBSERVATION_SIZE = CUES + LOOK_SIZE + 2
# An attempt counts as a success with at most one wrong action in ten.
SUCCESS_SHARE = 0.9
# Looks belong to the benchmark, not to a run: this seed never changes.
LOOK_SEED = 2411


def looks(count: int) -> NDArray[np.float32]:
    """The looks of the first `count` tasks, (count, 6); task i looks the same for every count."""
    values = np.random.default_rng(LOOK_SEED).standard_normal((count, LOOK_SIZE))
    return values.astype(np.float32)


def _check_scales(scales: Sequence[float]) -> None:
    numbers = isinstance(scales, list | tuple) and [isinstance(s, int | float) for s in scales]
    if not numbers or not all(numbers) or min(scales) <= 0:
        raise ValueError(f"scales: expected a list of positive numbers, not {scales!r}")


class ReturnScale(MultiTaskEnv):
    """One cue-recall task per entry of `scales`, named by position and scale: `task2_x100`.

    Args:
        scales: return of a perfect attempt, per task; equal scales make the control experiment.
        noise: standard deviation of the noise on the look.
        length: steps in an attempt.
        attempts: attempts in a rollout. All have the same cue, shown again at each one's start;
            a soft reset takes no step.
    """

    soft_reset_takes_step: ClassVar[bool] = False

    def __init__(
        self,
        *,
        scales: Sequence[float] = (1, 10, 100, 1000),
        noise: float = 0.3,
        length: int = 10,
        attempts: int = 1,
    ) -> None:
        _check_scales(scales)
        if length < 1:
            raise ValueError(f"length: expected a whole number of at least 1, not {length}")
        names = [f"task{index}_x{scale:g}" for index, scale in enumerate(scales)]
        super().__init__(tasks=names, attempts=attempts, horizon=attempts * length)
        self.observation_space = gymnasium.spaces.Dict({"observation": unbounded(OBSERVATION_SIZE)})
        self.action_space = gymnasium.spaces.Discrete(CUES)
        self._scales = dict(zip(names, map(float, scales), strict=True))
        self._looks = dict(zip(names, looks(len(names)), strict=True))
        self._noise, self._length = noise, length
        self._cue = self._right_action = self._step = self._right_steps = 0
        self._reward = 0.0
        self._frames: NDArray[np.float32] = np.zeros((length + 1, OBSERVATION_SIZE), np.float32)

    @property
    def max_returns(self) -> dict[str, float]:
        """Return of a perfect attempt, by task; chance is a quarter of it."""
        return dict(self._scales)

    def _draw_variant(self) -> None:
        self._cue = int(self.np_random.integers(CUES))
        self._right_action = (self._cue + self._tasks.index(self._task)) % CUES
        self._reward = self._scales[self._task] / self._length

    def _begin_attempt(self) -> Observation:
        self._step = self._right_steps = 0
        self._frames = self._draw_frames()
        return {"observation": self._frames[0]}

    def _draw_frames(self) -> NDArray[np.float32]:
        """All observations of an attempt, (length + 1, 12): no action changes what is seen."""
        count = self._length + 1
        frames = np.zeros((count, OBSERVATION_SIZE), np.float32)
        frames[0, self._cue] = 1
        noise = self.np_random.standard_normal((count, LOOK_SIZE), np.float32)
        frames[:, CUES : CUES + LOOK_SIZE] = self._looks[self._task] + self._noise * noise
        frames[0, -2] = 1
        steps = self._attempt * self._length + np.arange(count)
        frames[:, -1] = steps / (self._attempts * self._length)
        return frames

    def _play(self, action: Any) -> StepResult:
        right = bool(action == self._right_action)
        self._step += 1
        self._right_steps += right
        observation = {"observation": self._frames[self._step]}
        reward = self._reward if right else 0.0
        if self._step < self._length:
            return StepResult(observation, reward)
        success = self._right_steps >= SUCCESS_SHARE * self._length
        return StepResult(observation, reward, over=True, success=success)
