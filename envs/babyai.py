"""Multi-Task BabyAI: 68 instruction-following tasks in grid worlds, two attempts at one layout.

Both attempts have the same rooms, objects, start and mission, so that what was found in the first
helps in the second. An attempt ends with success or failure or at the task's own step limit; its
reward is 1 - 0.9 * steps / limit at success and 0 else. Between the two, one step is spent on the
soft reset: its action is ignored and its reward is 0.

Observation:

    "image"    (7, 7, 3) uint8    what lies before the agent: kind, colour, state of each cell
    "mission"  (9,) int32         words of the mission: 0 padding, 1 unknown, i + 2 `VOCABULARY[i]`
    "extra"    (5,) float32       direction, one-hot (4); attempts begun / attempts

Actions are Discrete(7): left, right, forward, pick up, drop, toggle, done.

Two choices are independent. `task_set`: 50 training tasks, 18 held-out ones, or all 68. `split`:
layouts of "train" come from seeds 0 to 5,000, of "eval" from seeds 5,001 to 1,000,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs import babyai_view
from envs.contract import (
    MultiTaskEnv,
    Observation,
    StepResult,
    check_choice,
    choose_tasks,
    require,
)

IMAGE_SHAPE = (7, 7, 3)
MISSION_LENGTH = 9
DIRECTIONS = 4
VOCABULARY = (
    "a", "ball", "behind", "blue", "box", "door", "door,", "front", "go", "green", "grey", "in",
    "key", "left", "object", "of", "on", "open", "pick", "purple", "red", "right", "the", "then",
    "to", "up", "yellow", "you", "your",
)  # fmt: skip
UNKNOWN = 1
TOKENS = {word: index + 2 for index, word in enumerate(VOCABULARY)}

TRAIN_TASKS = (
    "GoToLocalS7N5", "GoToObjMaze", "KeyCorridor", "KeyCorridorS3R3", "GoToRedBall",
    "KeyCorridorS3R2", "KeyCorridorS3R1", "Unlock", "GoToLocalS8N4", "GoToObjMazeOpen",
    "KeyCorridorS4R3", "UnlockLocal", "GoToObjMazeS5", "GoToObjMazeS4R2", "GoToLocal", "PickupLoc",
    "UnlockPickup", "GoTo", "FindObjS6", "BlockedUnlockPickup", "KeyCorridorS5R3", "GoToObjS6",
    "KeyInBox", "Open", "GoToOpen", "GoToDoor", "FindObjS7", "OpenRedDoor", "PickupDist",
    "GoToImpUnlock", "UnblockPickup", "OpenDoor", "GoToObjMazeS4", "OneRoomS12", "GoToObjMazeS6",
    "GoToRedBallNoDists", "OpenDoorDebug", "GoToLocalS8N5", "OneRoomS20", "Pickup",
    "GoToRedBlueBall", "OpenDoorColor", "PickupAbove", "GoToObjDoor", "OpenRedBlueDoors",
    "UnlockToUnlock", "OneRoomS16", "GoToLocalS8N6", "OneRoomS8", "PickupDistDebug",
)  # fmt: skip
TEST_TASKS = (
    "UnlockPickupDist", "UnlockLocalDist", "OpenDoorLoc", "GoToRedBallGrey", "GoToLocalS8N7",
    "GoToObjMazeS7", "GoToLocalS6N4", "GoToObjS4", "GoToLocalS5N2", "GoToLocalS6N3",
    "GoToLocalS7N4", "GoToLocalS6N2", "GoToLocalS8N3", "ActionObjDoor", "GoToLocalS8N2", "GoToObj",
    "FindObjS5", "KeyCorridorS6R3",
)  # fmt: skip
TASK_SETS = {"train": TRAIN_TASKS, "test": TEST_TASKS, "all": TRAIN_TASKS + TEST_TASKS}
# First and last layout seed, both included.
SEEDS = {"train": (0, 5_000), "eval": (5_001, 1_000_000)}


def registered_id(task: str) -> str:
    """The id under which minigrid registers `task`; one exists in its repaired version only."""
    return f"BabyAI-{task}-{'v1' if task == 'GoToObjS6' else 'v0'}"


def tokenize(mission: str) -> NDArray[np.int32]:
    """The mission's first nine words as tokens, (9,)."""
    tokens = np.zeros(MISSION_LENGTH, np.int32)
    for index, word in enumerate(mission.split()[:MISSION_LENGTH]):
        tokens[index] = TOKENS.get(word, UNKNOWN)
    return tokens


def _require_minigrid() -> None:
    require("minigrid", "babyai")
    # It prints each rejected layout. Its own `print` is taken away rather than the process's
    # standard output, which may not be ours to redirect.
    level = require("minigrid.envs.babyai.core.roomgrid_level", "babyai")
    vars(level)["print"] = lambda *_: None


class MultiTaskBabyAI(MultiTaskEnv):
    """Rollouts of `attempts` attempts at one layout of one BabyAI task.

    Args:
        split: "train" or "eval": which layouts.
        task_set: "train", "test" or "all": which tasks.
        tasks: names out of the task set instead of the whole of it.
        attempts: attempts in a rollout.
        attempt_steps: ends attempts after this many steps, before the task's own limit (None).
    """

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(
        self,
        *,
        split: str = "train",
        task_set: str = "train",
        tasks: Sequence[str] | None = None,
        attempts: int = 2,
        attempt_steps: int | None = None,
    ) -> None:
        check_choice("task_set", task_set, tuple(TASK_SETS))
        if attempt_steps is not None and attempt_steps < 1:
            raise ValueError(
                f"attempt_steps: expected a positive whole number, not {attempt_steps}"
            )
        names = choose_tasks(tasks, TASK_SETS[task_set])
        super().__init__(tasks=names, split=split, attempts=attempts)
        _require_minigrid()
        mission = spaces.Box(0, len(VOCABULARY) + 1, (MISSION_LENGTH,), np.int32)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, IMAGE_SHAPE, np.uint8),
                "mission": mission,
                "extra": spaces.Box(0.0, 1.0, (DIRECTIONS + 1,), np.float32),
            }
        )
        self.action_space = spaces.Discrete(7)
        self._attempt_steps = attempt_steps
        self._simulator: gymnasium.Env[Any, Any] | None = None
        self._layout = self._step = 0
        self._mission: NDArray[np.int32] = np.zeros(MISSION_LENGTH, np.int32)

    @property
    def known_tasks(self) -> tuple[str, ...]:
        """All 68, training and held-out."""
        return TASK_SETS["all"]

    def _draw_variant(self) -> None:
        first, last = SEEDS[self._split]
        self._layout = int(self.np_random.integers(first, last + 1))
        # A new one each time costs less than a layout, and cannot remember anything.
        made = gymnasium.make(registered_id(self._task), disable_env_checker=True)
        simulator: Any = made.unwrapped
        simulator.gen_obs = partial(babyai_view.observe, simulator)
        self._simulator = simulator

    def _begin_attempt(self) -> Observation:
        assert self._simulator is not None
        self._step = 0
        seen, _ = self._simulator.reset(seed=self._layout)
        self._mission = tokenize(seen["mission"])
        return self._observe(seen)

    def _play(self, action: Any) -> StepResult:
        assert self._simulator is not None
        seen, reward, terminated, truncated, _ = self._simulator.step(int(action))
        self._step += 1
        over = terminated or truncated or self._step == self._attempt_steps
        reward = float(reward)
        return StepResult(self._observe(seen), reward, over, success=reward > 0)

    def render(self) -> Any:
        """The whole grid from above, (height, width, 3) uint8."""
        assert self._simulator is not None
        simulator: Any = self._simulator.unwrapped
        return simulator.get_frame(tile_size=16)

    def _observe(self, seen: dict[str, Any]) -> Observation:
        extra = np.zeros(DIRECTIONS + 1, np.float32)
        extra[seen["direction"]] = 1
        extra[-1] = (self._attempt + 1) / self._attempts
        return {"image": seen["image"], "mission": self._mission.copy(), "extra": extra}
