"""The simulators alone, driven as the benchmarks drive them: the yardstick of our environments.

Each function here takes a benchmark's `env.kwargs` and returns a `Play`: given a task, a seed and
actions in the form that replay stores, it plays one rollout, resets between attempts included, and
yields after each agent step. Task, variant and actions are those of our environments' rollout with
that seed, so that both sides do the same work. Nothing looks at the observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from envs import atari, babyai, metaworld, popgym, procgen, retro
from envs.contract import require
from envs.retro_roms import FREE_GAME

Args = Mapping[str, Any]
Play = Callable[[str, int, NDArray[Any]], Iterator[None]]
SLOTS = 8
"""Of Atari's vector environment."""


def variant(seed: int, tasks: int, low: int, high: int | None = None) -> int:
    """The number that our environment draws in a rollout with this seed, after its task."""
    generator, _ = np_random(seed)
    generator.integers(tasks)
    return int(generator.integers(low, high))


def attempts(
    reset: Callable[[], Any], step: Callable[[Any], bool], count: int, actions: Iterator[Any]
) -> Iterator[None]:
    """Play `count` attempts; the reset between two takes a step. `step` says if that ended one."""
    for attempt in range(count):
        reset()
        if attempt:
            if next(actions, None) is None:
                return
            yield
        for action in actions:
            over = step(action)
            yield
            if over:
                break


def popgym_player(args: Args) -> Play:
    """Classes of popgym; an action that a task lacks is taken modulo their number."""
    tasks = args.get("tasks", popgym.TASKS)
    simulators = {task: popgym.Simulator(task) for task in tasks}

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        simulator = simulators[task]
        native = [simulator.raw_actions[i] for i in actions % simulator.actions]
        seeds = iter([variant(seed, len(tasks), 2**31)])

        def step(action: Any) -> bool:
            _, _, terminated, truncated, _ = simulator.env.step(action)
            return bool(terminated or truncated)

        return attempts(lambda: simulator.env.reset(seed=next(seeds, None)), step, 2, iter(native))

    return play


def metaworld_player(args: Args) -> Play:
    """Metaworld's own classes, each made once."""
    simulators: dict[str, metaworld.Simulator] = {}

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        simulator = simulators.get(task) or simulators.setdefault(
            task, metaworld.Simulator(task, metaworld.bare_class(task))
        )
        chosen = variant(seed, len(metaworld.TRAIN_TASKS), metaworld.VARIANTS)
        key = [0, 0, metaworld.ALL_TASKS.index(task), chosen]
        simulator.draw_variant(np.random.default_rng(key))
        for start in range(0, len(actions), metaworld.MAX_ATTEMPT_STEPS):
            simulator.env.reset()
            for action in actions[start : start + metaworld.MAX_ATTEMPT_STEPS]:
                simulator.env.step(action)
                yield

    return play


def procgen_player(args: Args) -> Play:
    """gym3's environment, made for each rollout; the level begins again by itself."""
    games, levels = args.get("games", procgen.GAMES), args.get("train_levels", 2_000)

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        level = variant(seed, len(games), levels)
        simulator = procgen.Simulator(
            task, procgen.distribution_mode(task, args["mode"]), level
        ).env
        batches = actions.astype(np.int32)[:, None]

        def step(action: NDArray[np.int32]) -> bool:
            simulator.act(action)
            _, _, first = simulator.observe()
            return bool(first[0])

        yield from attempts(lambda: None, step, 2, iter(batches))
        simulator.close()

    return play


def babyai_player(args: Args) -> Play:
    """minigrid's own environments without wrappers, one made for each rollout."""
    babyai.MultiTaskBabyAI()  # registers the tasks, and silences them

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        first, last = babyai.SEEDS["train"]
        layout = variant(seed, len(babyai.TRAIN_TASKS), first, last + 1)
        simulator: Any = gymnasium.make(babyai.registered_id(task), disable_env_checker=True)
        simulator = simulator.unwrapped

        def step(action: int) -> bool:
            _, _, terminated, truncated, _ = simulator.step(action)
            return bool(terminated or truncated)

        return attempts(lambda: simulator.reset(seed=layout), step, 2, iter(actions.tolist()))

    return play


def atari_player(args: Args) -> Play:
    """ale-py's vector environment of one game with eight slots and one thread: the same frames.

    Slots begin again by themselves, and are not seeded, which takes 65 ms a time. Eight slots step
    a sixth more frames a second than one.
    """
    vector_env = require("ale_py.vector_env", "atari")
    simulators: dict[str, Any] = {}

    def make(game: str) -> Any:
        made = vector_env.AtariVectorEnv(
            atari.ROMS[game], SLOTS, num_threads=1, full_action_space=True,
            repeat_action_probability=0.25, grayscale=False, stack_num=1, maxpool=False,
            noop_max=0, use_fire_reset=False, reward_clipping=False,
        )  # fmt: skip
        made.reset()
        return made

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        simulator = simulators.get(task) or simulators.setdefault(task, make(task))
        for together in np.resize(actions, (-(-len(actions) // SLOTS), SLOTS)).astype(np.int64):
            simulator.step(together)
            yield from [None] * SLOTS

    return play


def retro_player(args: Args) -> Play:
    """stable-retro's environment of the free game, eight frames for each action."""
    simulator = retro.Emulator(FREE_GAME).env
    simulator.load_state("Level1")

    def play(task: str, seed: int, actions: NDArray[Any]) -> Iterator[None]:
        simulator.reset()
        for buttons in actions:
            for _ in range(retro.FRAME_SKIP):
                _, _, over, _, _ = simulator.step(buttons)
                if over:
                    break
            yield
            if over:
                break

    return play


PLAYERS: Mapping[str, Callable[[Args], Play]] = {
    "envs.popgym:MultiTaskPOPGym": popgym_player,
    "envs.metaworld:MultiTaskMetaWorld": metaworld_player,
    "envs.procgen:MultiGameProcgen": procgen_player,
    "envs.babyai:MultiTaskBabyAI": babyai_player,
    "envs.atari:MultiGameAtari": atari_player,
    "envs.retro:RetroFree": retro_player,
}
