"""Multi-Game Atari: ten games of the 2600, unclipped rewards, colour frames, all 18 actions.

Observation {"image": (84, 84, 3) uint8}: the screen, shrunk by area interpolation. No stacking, no
maximum over frames, no grey, no idle starts, and a lost life ends nothing. An action lasts
`frame_skip` frames, whose rewards are summed; at each frame, with probability `sticky`, the
previous frame's action goes on instead. One rollout is one game: its end is `terminated`, the time
limit `truncated`.

The emulator is driven directly (`ALEInterface`). ale-py's vector environment gives the same rewards
and frames (but for the last, where it skips what is left of `frame_skip`), and steps 5 to 10 %
fewer of them a second per thread. It plays one game only, and takes 65 ms to be seeded, as long as
200 steps, for its emulator must load the ROM again. But the seed serves nothing else than sticky
actions; games start the same whatever it is. So these are drawn here, from the emulator's own
random numbers: a rollout equals ALE's with that seed, and costs 4 ms to start.

The paper gives each actor one game for good, so that all games get the same number of steps. That
is `slot`: of N environments, number i is made with `slot=i` and plays game i modulo their number
(`actor_slots = True` asks for that).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.contract import (
    Info,
    MultiTaskEnv,
    Observation,
    StepResult,
    check_positive,
    choose_tasks,
    require,
)

IMAGE_SIZE = 84
ACTIONS = 18
# Half an hour of play.
MAX_FRAMES = 108_000

# Names as in published figures -> names of the ROMs in ale-py.
ROMS = {
    "BattleZone": "battle_zone",
    "Boxing": "boxing",
    "Breakout": "breakout",
    "ChopperCommand": "chopper_command",
    "CrazyClimber": "crazy_climber",
    "Gopher": "gopher",
    "MsPacman": "ms_pacman",
    "Pong": "pong",
    "Qbert": "qbert",
    "Seaquest": "seaquest",
}
GAMES = tuple(ROMS)

# Scores of a random policy and of a person, for human-normalised scores. Source: danijar/dreamerv3,
# baselines.yaml (its random and gamer). They reproduce the two axes of the AMAGO-2 paper's Atari
# figure; those of Mnih et al. 2015 differ in some games.
HUMAN_SCORES = {
    "BattleZone": (2360.0, 37187.5),
    "Boxing": (0.1, 12.1),
    "Breakout": (1.7, 30.5),
    "ChopperCommand": (811.0, 7387.8),
    "CrazyClimber": (10780.5, 35829.4),
    "Gopher": (257.6, 2412.5),
    "MsPacman": (307.3, 6951.6),
    "Pong": (-20.7, 14.6),
    "Qbert": (163.9, 13455.0),
    "Seaquest": (68.4, 42054.7),
}


class Emulator:
    """One game. It plays without sticky actions, and the same after every start."""

    def __init__(self, game: str) -> None:
        ale_py, self._cv2 = require("ale_py", "atari"), require("cv2", "atari")
        # Environments are spread over processes, not threads.
        self._cv2.setNumThreads(1)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.loadROM(require("ale_py.roms", "atari").get_rom_path(ROMS[game]))
        self._screen = np.empty((*self.ale.getScreenDims(), 3), np.uint8)

    def start(self) -> None:
        """Begin the game anew."""
        self.ale.reset_game()

    def play(self, actions: Sequence[int]) -> tuple[float, bool]:
        """(sum of rewards, whether the game is over) after one action for each frame."""
        reward = 0
        for action in actions:
            reward += self.ale.act(action)
        return float(reward), bool(self.ale.game_over(with_truncation=False))

    def image(self) -> NDArray[np.uint8]:
        """The screen, (84, 84, 3)."""
        self.ale.getScreenRGB(self._screen)
        size = (IMAGE_SIZE, IMAGE_SIZE)
        return self._cv2.resize(self._screen, size, interpolation=self._cv2.INTER_AREA)


class StickyActions:
    """The emulator's own rule of what each frame's action is, from its own random numbers.

    ALE draws one 32-bit word of a Mersenne Twister for each of two players at each frame; below
    `probability` * 2**32, the player's previous action goes on. The first goes on from no action.
    """

    def __init__(self, seed: int, probability: float) -> None:
        # The legacy generator, because its seeding is the C++ library's, and frozen for good.
        self._words = np.random.RandomState(seed)
        self._threshold = probability * 2**32
        self._previous = 0

    def frames(self, action: int, count: int) -> list[int]:
        """What is done at each of the next `count` frames if `action` is asked for."""
        words = self._words.randint(0, 2**32, 2 * count, dtype=np.uint32)[::2]
        done = []
        for stick in (words < self._threshold).tolist():
            if not stick:
                self._previous = action
            done.append(self._previous)
        return done


# The emulators that no environment of this process uses, by game: a new one takes 65 ms.
_IDLE: dict[str, list[Emulator]] = {game: [] for game in GAMES}


class MultiGameAtari(MultiTaskEnv):
    """Rollouts of one game of one of `games`.

    Args:
        games: names out of `GAMES`; all of them if None.
        frame_skip: frames that an action lasts.
        sticky: probability that a frame repeats the previous one's action.
        clip_rewards: give the agent its rewards clipped to [-1, 1].
        max_frames: frames after which a rollout is truncated.
        slot: plays game `slot` modulo their number, but for what `reset` is told; any if None.
    """

    actor_slots = True

    def __init__(
        self,
        *,
        games: Sequence[str] | None = None,
        frame_skip: int = 4,
        sticky: float = 0.25,
        clip_rewards: bool = False,
        max_frames: int = MAX_FRAMES,
        slot: int | None = None,
    ) -> None:
        names = choose_tasks(games, GAMES, "games")
        check_positive("frame_skip", frame_skip)
        if not 0 <= sticky <= 1:
            raise ValueError(f"sticky: expected a probability, not {sticky}")
        if max_frames < frame_skip:
            raise ValueError(f"max_frames: expected at least frame_skip, not {max_frames}")
        if slot is not None and slot < 0:
            raise ValueError(f"slot: expected a whole number of at least 0, not {slot}")
        super().__init__(tasks=names, horizon=max_frames // frame_skip)
        require("ale_py", "atari")
        shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
        self.observation_space = spaces.Dict({"image": spaces.Box(0, 255, shape, np.uint8)})
        self.action_space = spaces.Discrete(ACTIONS)
        self._frame_skip, self._sticky, self._clip = frame_skip, sticky, clip_rewards
        self._slot = slot
        self._held: tuple[str, Emulator] | None = None
        self._actions = StickyActions(0, sticky)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin a rollout: of the game that `options` name, else the slot's, else a drawn one."""
        if self._slot is not None:
            options = {"task": self._tasks[self._slot % len(self._tasks)], **(options or {})}
        return super().reset(seed=seed, options=options)

    def _draw_variant(self) -> None:
        self._actions = StickyActions(int(self.np_random.integers(2**31)), self._sticky)
        if self._held is None or self._held[0] != self._task:
            self.close()
            idle = _IDLE[self._task]
            self._held = (self._task, idle.pop() if idle else Emulator(self._task))

    def _begin_attempt(self) -> Observation:
        self._emulator.start()
        return {"image": self._emulator.image()}

    def _play(self, action: Any) -> StepResult:
        frames = self._actions.frames(int(action), self._frame_skip)
        reward, over = self._emulator.play(frames)
        return StepResult({"image": self._emulator.image()}, reward, over)

    def _returned(self, reward: float) -> float:
        return min(max(reward, -1.0), 1.0) if self._clip else reward

    @property
    def _emulator(self) -> Emulator:
        assert self._held is not None
        return self._held[1]

    def close(self) -> None:
        """Leave the emulator to the process's other environments."""
        if self._held is not None:
            game, emulator = self._held
            _IDLE[game].append(emulator)
            self._held = None
