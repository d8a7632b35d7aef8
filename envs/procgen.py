"""Multi-Game Procgen: up to 16 procedurally generated games, two attempts at one level.

A level is the simulator's own, fixed by a seed; the second attempt starts from a saved state, so
that nothing differs from the first but what the agent does. Between the two, one step is spent on
the soft reset: its action is ignored and its reward is 0. Rollouts are truncated at the horizon.

Observation {"image": (64, 64, 3) uint8}: the simulator's frame. From the last frame of the first
attempt on, rows and columns 1 to 4 are black: the mark of the second attempt. (The simulator never
shows how an attempt ended, that frame is already the start of the level again. Without the mark,
the end of an attempt would be invisible at that step.)

Actions are Discrete(15). Rewards may be scaled game by game (`reward_scales`), to make games
unequal; `attempt_return` stays the simulator's own.

Levels of "train" have the seeds 0 to `train_levels` - 1, of "eval" all others below 10,000,000.

About a tenth of jumper's easy levels end at the first step, for the player starts on a spike or on
the goal. These are the simulator's own levels, and kept.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.contract import (
    MultiTaskEnv,
    Observation,
    StepResult,
    check_choice,
    check_positive,
    choose_tasks,
    require,
)

IMAGE_SHAPE = (64, 64, 3)
ACTIONS = 15
# Level seeds are below this.
LEVELS = 10_000_000
MARK = slice(1, 5)

GAMES = (
    "bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball", "fruitbot",
    "heist", "jumper", "leaper", "maze", "miner", "ninja", "plunder", "starpilot",
)  # fmt: skip
# The games with a memory mode: hidden surroundings, larger levels.
MEMORY_GAMES = ("caveflyer", "dodgeball", "heist", "jumper", "maze", "miner")
EASY_GAMES = ("climber", "coinrun", "jumper", "ninja", "leaper")
MODES = ("easy", "hard", "memory_hard")

# The paper's benchmarks, as arguments of `MultiGameProcgen`. The number of training levels of
# memory_hard is the published code's, which the paper does not change.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "easy": {"games": EASY_GAMES, "mode": "easy", "train_levels": 2_000, "horizon": 2_500},
    "rescaled": {
        "games": EASY_GAMES,
        "mode": "easy",
        "train_levels": 2_000,
        "horizon": 2_500,
        "reward_scales": {"coinrun": 100.0, "climber": 0.1},
    },
    "memory_hard": {
        "games": GAMES,
        "mode": "memory_hard",
        "train_levels": 10_001,
        "horizon": 5_000,
    },
}

# Score of doing nothing useful, best possible score; of one attempt, by mode. Source: Cobbe et al.
# 2020 (arXiv 1912.01588), normalisation constants as printed in the paper. Its code
# (openai/train-procgen, constants.py) differs in two easy ranges: jumper 1 to 10, leaper 1.5 to 10;
# the AMAGO-2 paper's own normalised curves agree with the printed ones. Memory modes are normalised
# by the hard ranges.
SCORE_RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "easy": {
        "bigfish": (1, 40), "bossfight": (0.5, 13), "caveflyer": (3.5, 12), "chaser": (0.5, 13),
        "climber": (2, 12.6), "coinrun": (5, 10), "dodgeball": (1.5, 19), "fruitbot": (-1.5, 32.4),
        "heist": (3.5, 10), "jumper": (3, 10), "leaper": (3, 10), "maze": (5, 10),
        "miner": (1.5, 13), "ninja": (3.5, 10), "plunder": (4.5, 30), "starpilot": (2.5, 64),
    },
    "hard": {
        "bigfish": (0, 40), "bossfight": (0.5, 13), "caveflyer": (2, 13.4), "chaser": (0.5, 14.2),
        "climber": (1, 12.6), "coinrun": (5, 10), "dodgeball": (1.5, 19), "fruitbot": (-0.5, 27.2),
        "heist": (2, 10), "jumper": (1, 10), "leaper": (1.5, 10), "maze": (4, 10),
        "miner": (1.5, 20), "ninja": (2, 10), "plunder": (3, 30), "starpilot": (1.5, 35),
    },
}  # fmt: skip


def distribution_mode(game: str, mode: str) -> str:
    """The simulator's name for the levels of `game` in one of `MODES`."""
    if mode == "memory_hard":
        return "memory" if game in MEMORY_GAMES else "hard"
    return mode


def _require_procgen() -> ModuleType:
    # Its dependency gym greets who imports it with advice to upgrade, on standard error.
    with contextlib.suppress(ImportError):
        importlib.import_module("gym_notices.notices").notices.clear()
    return require("procgen", "procgen")


class Simulator:
    """One level of one game. It goes on by itself: after an attempt's end the level begins again.

    The simulator ends the process if it does not know a game or its mode, so check them before.
    """

    def __init__(self, game: str, distribution: str, level: int) -> None:
        # Threads would serve other copies of the game. The random seed chooses between levels, of
        # which there is one; unset, it would be drawn from the operating system.
        self.env = _require_procgen().ProcgenGym3Env(
            num=1,
            env_name=game,
            distribution_mode=distribution,
            num_levels=1,
            start_level=level,
            num_threads=0,
            rand_seed=0,
        )
        self._start: list[bytes] = self.env.get_state()
        self._action = np.zeros(1, np.int32)

    def start(self) -> NDArray[np.uint8]:
        """Put the game at the start of its level, exactly as it was; its frame (64, 64, 3)."""
        self.env.set_state(self._start)
        return self.env.observe()[1]["rgb"][0]

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool]:
        """(frame (64, 64, 3), reward, whether that ended the attempt) of one step."""
        self._action[0] = action
        self.env.act(self._action)
        reward, frame, first = self.env.observe()
        return frame["rgb"][0], float(reward[0]), bool(first[0])


class MultiGameProcgen(MultiTaskEnv):
    """Rollouts of `attempts` attempts at one level of one Procgen game.

    Args:
        games: names out of `GAMES`; all of them if None.
        mode: "easy", "hard", or "memory_hard": memory mode for `MEMORY_GAMES`, hard for the others.
        split: "train" or "eval": which levels.
        train_levels: number of levels of the training split.
        attempts: attempts in a rollout.
        horizon: steps after which a rollout is truncated; never if None.
        reward_scales: factor on the rewards that the agent gets, by game; 1 where left out.
    """

    def __init__(
        self,
        *,
        games: Sequence[str] | None = None,
        mode: str = "easy",
        split: str = "train",
        train_levels: int = 2_000,
        attempts: int = 2,
        horizon: int | None = 2_500,
        reward_scales: Mapping[str, float] | None = None,
    ) -> None:
        names = choose_tasks(games, GAMES, "games")
        check_choice("mode", mode, MODES)
        check_positive("train_levels", train_levels)
        if train_levels >= LEVELS:
            raise ValueError(f"train_levels: expected less than {LEVELS}, not {train_levels}")
        super().__init__(
            tasks=names,
            split=split,
            attempts=attempts,
            horizon=horizon,
            reward_scales=reward_scales,
        )
        _require_procgen()
        self.observation_space = spaces.Dict({"image": spaces.Box(0, 255, IMAGE_SHAPE, np.uint8)})
        self.action_space = spaces.Discrete(ACTIONS)
        self._mode = mode
        self._levels = (0, train_levels) if split == "train" else (train_levels, LEVELS)
        self._level = 0
        self._simulator: Simulator | None = None

    def _draw_variant(self) -> None:
        self._level = int(self.np_random.integers(*self._levels))
        # A new one each time takes less than a millisecond.
        self.close()
        self._simulator = Simulator(
            self._task, distribution_mode(self._task, self._mode), self._level
        )

    def _begin_attempt(self) -> Observation:
        assert self._simulator is not None
        return self._observe(self._simulator.start(), self._attempt > 0)

    def _play(self, action: Any) -> StepResult:
        assert self._simulator is not None
        frame, reward, over = self._simulator.step(int(action))
        marked = self._attempt > 0 or (over and self._attempts > 1)
        return StepResult(self._observe(frame, marked), reward, over)

    def _observe(self, frame: NDArray[np.uint8], marked: bool) -> Observation:
        if marked:
            frame[MARK, MARK] = 0
        return {"image": frame}

    def close(self) -> None:
        """Close the simulator."""
        if self._simulator is not None:
            self._simulator.env.close()
            self._simulator = None
