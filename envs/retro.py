"""Gym Retro: Super Mario on two consoles, from 40 start states; and a free game to stand in.

A task is one start state of one game, "SuperMarioBros-Nes:Level1-1". A rollout starts there, plays
until the game is over (`terminated`) or 8 minutes have passed (`truncated`), and is one attempt.
Rewards are those of stable-retro's own scenario. Nothing is drawn but the start state: the emulator
repeats exactly what the same actions did before.

Observation {"image": (84, 84, 3) uint8}: the screen, shrunk by area interpolation; its outer two
pixels are painted in the console's colour, for what the buttons do depends on the console.

Actions are MultiBinary(12): the console's buttons in stable-retro's order, those that it lacks
ignored, and combinations that no pad allows (left and right) filtered as there. An action lasts 8
frames, whose rewards are summed.

stable-retro can run one emulator in a process. Making several environments is allowed, for their
spaces, but only one at a time may play: step each in a process of its own.

The Mario games' ROMs are the user's own, see `envs.retro_roms`. `RetroFree` needs none of them: it
is the free game that stable-retro ships, as several tasks that differ in their rewards' scale only.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

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
from envs.retro_roms import FREE_GAME, MARIO_GAMES, check, console, installed_name, stable_retro

IMAGE_SIZE = 84
BORDER = 2
BUTTONS = 12
FRAME_SKIP = 8
HORIZON = 8 * 60 * 60 // FRAME_SKIP  # 8 minutes at 60 frames a second: 3,600 steps
# Red, green, blue. The Mega Drive's is ours, no published run has one.
COLOURS = {"Nes": (191, 40, 17), "Snes": (18, 196, 65), "Genesis": (17, 82, 191)}

# The published training list has a 41st, of a fifth game (SuperMarioWorld2-Snes); left out.
TRAIN_STARTS = {
    "SuperMarioBros-Nes": (
        "Level1-1", "Level2-1-clouds-easy", "Level4-1", "Level5-1", "Level7-1", "Level8-1",
    ),
    "SuperMarioBros2Japan-Nes": (
        "Level1-1", "Level1-2", "Level3-1", "Level4-1", "Level5-1", "Level6-2", "Level7-1",
        "Level8-1",
    ),
    "SuperMarioBros3-Nes": (
        "1Player.World1.Fortress", "1Player.World1.FortressBoss", "1Player.World1.Level3",
    ),
    "SuperMarioWorld-Snes": (
        "Bridges1", "Bridges2", "ChocolateIsland1", "ChocolateIsland2", "ChocolateIsland3",
        "DonutPlains1", "DonutPlains2", "DonutPlains3", "DonutPlains4", "DonutPlains5", "Forest1",
        "Forest2", "Forest3", "Forest4", "Forest5", "Start", "VanillaDome2", "VanillaDome3",
        "VanillaDome4", "VanillaDome5", "YoshiIsland1", "YoshiIsland2", "YoshiIsland4",
    ),
}  # fmt: skip
TEST_STARTS = {
    "SuperMarioBros-Nes": ("Level1-4", "Level2-1", "Level2-1-clouds", "Level3-1", "Level6-1"),
    "SuperMarioBros2Japan-Nes": ("Level2-1", "Level6-1"),
    "SuperMarioBros3-Nes": (
        "1Player.World1.Castle", "1Player.World1.Level1", "1Player.World1.Level1.HammerBros",
    ),
    "SuperMarioWorld-Snes": ("VanillaDome1", "YoshiIsland3"),
}  # fmt: skip


class Task(NamedTuple):
    """A game, a start state of it, and a factor on the rewards that the agent gets."""

    game: str
    start: str
    scale: float = 1.0


def _named(starts: Mapping[str, Sequence[str]]) -> dict[str, Task]:
    return {f"{game}:{start}": Task(game, start) for game in starts for start in starts[game]}


# Names of the tasks -> what they are.
TRAIN_TASKS, TEST_TASKS = _named(TRAIN_STARTS), _named(TEST_STARTS)
ALL_TASKS = {**TRAIN_TASKS, **TEST_TASKS}


class EmulatorTaken(RuntimeError):
    """This process's one emulator is another environment's; the message is one sentence."""


class Emulator:
    """One game of stable-retro."""

    def __init__(self, game: str) -> None:
        retro, self._cv2 = stable_retro(), require("cv2", "retro")
        # Environments are spread over processes, not threads.
        self._cv2.setNumThreads(1)
        self.game = game
        self._stable = retro.data.Integrations.STABLE
        self.env = retro.RetroEnv(
            installed_name(game),
            state=retro.State.NONE,
            inttype=self._stable,
            render_mode="rgb_array",
        )

    def start(self, state: str) -> None:
        """Begin at a named start state."""
        self.env.load_state(state, self._stable)
        self.env.reset()

    def play(self, buttons: NDArray[np.int8], frames: int) -> tuple[float, bool]:
        """(sum of rewards, whether the game is over) with `buttons` (12,) held for some frames.

        As `env.step` for each frame, without the pictures that nobody sees.
        """
        em, data = self.env.em, self.env.data
        (held,) = self.env.action_to_array(buttons[: self.env.num_buttons])
        total, over = 0.0, False
        for _ in range(frames):
            em.set_button_mask(held, 0)
            em.step()
            data.update_ram()
            total += data.current_reward()
            over = bool(data.is_done())
            if over:
                break
        return total, over

    def image(self) -> NDArray[np.uint8]:
        """The screen in its frame, (84, 84, 3)."""
        screen, size = self.env.get_screen(apply_rotation=True), (IMAGE_SIZE, IMAGE_SIZE)
        image = self._cv2.resize(screen, size, interpolation=self._cv2.INTER_AREA)
        colour = COLOURS[console(self.game)]
        image[:BORDER] = image[-BORDER:] = colour
        image[:, :BORDER] = image[:, -BORDER:] = colour
        return image

    def close(self) -> None:
        """Make room for another emulator in this process."""
        self.env.close()


class RetroEnvironment(MultiTaskEnv):
    """Rollouts of one of `tasks`, by name; the base of the benchmarks in this file."""

    # The environments of this process that have an emulator: none or one.
    _players: WeakSet[RetroEnvironment] = WeakSet()

    def __init__(
        self, *, tasks: Mapping[str, Task], split: str, frame_skip: int, horizon: int
    ) -> None:
        check_positive("frame_skip", frame_skip)
        super().__init__(tasks=tuple(tasks), split=split, horizon=horizon)
        self._table = dict(tasks)
        check(list(dict.fromkeys(task.game for task in tasks.values())))
        shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
        self.observation_space = spaces.Dict({"image": spaces.Box(0, 255, shape, np.uint8)})
        self.action_space = spaces.MultiBinary(BUTTONS)
        self._frame_skip = frame_skip
        self._emulator: Emulator | None = None

    def _draw_variant(self) -> None:
        """There are no variants; the game of the task is made ready."""
        game = self._table[self._task].game
        if self._emulator is None or self._emulator.game != game:
            self.close()
            self._refuse_a_second()
            self._emulator = Emulator(game)
            self._players.add(self)

    def _refuse_a_second(self) -> None:
        if self._players:
            gc.collect()  # an environment that was dropped without close()
        if self._players:
            raise EmulatorTaken(
                "stable-retro can run one emulator in a process and another environment has it: "
                "close that one, or step each environment in a process of its own"
            )

    def _begin_attempt(self) -> Observation:
        assert self._emulator is not None
        self._emulator.start(self._table[self._task].start)
        return {"image": self._emulator.image()}

    def _play(self, action: Any) -> StepResult:
        assert self._emulator is not None
        reward, over = self._emulator.play(np.asarray(action, np.int8), self._frame_skip)
        return StepResult({"image": self._emulator.image()}, reward, over)

    def _returned(self, reward: float) -> float:
        return reward * self._table[self._task].scale

    def close(self) -> None:
        """Close the emulator, so that another environment may have one."""
        if self._emulator is not None:
            self._emulator.close()
            self._emulator = None
        self._players.discard(self)


class MultiGameRetro(RetroEnvironment):
    """Rollouts from one start state of one Super Mario game.

    Args:
        split: "train" for the 40 training start states, "eval" for the 12 held-out ones.
        games: names out of `MARIO_GAMES`, all if None; only these need their ROM.
        starts: names out of `ALL_TASKS` instead of the split's.
        frame_skip: frames that an action lasts.
        horizon: steps after which a rollout is truncated.
    """

    def __init__(
        self,
        *,
        split: str = "train",
        games: Sequence[str] | None = None,
        starts: Sequence[str] | None = None,
        frame_skip: int = FRAME_SKIP,
        horizon: int = HORIZON,
    ) -> None:
        check_choice("split", split, ("train", "eval"))
        chosen = choose_tasks(games, MARIO_GAMES, "games")
        available = (
            (TEST_TASKS if split == "eval" else TRAIN_TASKS) if starts is None else ALL_TASKS
        )
        fitting = [name for name, task in available.items() if task.game in chosen]
        names = choose_tasks(starts, fitting, "starts")
        super().__init__(
            tasks={name: ALL_TASKS[name] for name in names},
            split=split,
            frame_skip=frame_skip,
            horizon=horizon,
        )


class RetroFree(RetroEnvironment):
    """Rollouts of Airstriker, a free shooting game, with rewards scaled task by task.

    What an agent must do is the same in all tasks, and they look the same; only the rewards tell.

    Args:
        scales: the factors; the tasks are called "airstriker_x1" and so on.
        frame_skip: frames that an action lasts.
        horizon: steps after which a rollout is truncated.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = (1, 10, 100),
        frame_skip: int = FRAME_SKIP,
        horizon: int = HORIZON,
    ) -> None:
        names = [f"airstriker_x{scale:g}" for scale in scales]
        choose_tasks(names, names, "scales")  # refuses none, or one twice
        tasks = [Task(FREE_GAME, "Level1", float(scale)) for scale in scales]
        super().__init__(
            tasks=dict(zip(names, tasks, strict=True)),
            split="train",
            frame_skip=frame_skip,
            horizon=horizon,
        )
