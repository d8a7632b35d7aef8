import csv
import gc
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from amago2.env.spaces import Array
from envs.atari import _IDLE, GAMES, HUMAN_SCORES, ROMS, MultiGameAtari, StickyActions
from envs.contract import SimulatorMissing
from tests.envs.contract_checks import (
    assert_same,
    check_gymnasium,
    check_reproducible,
    check_rollout,
    global_generators_untouched,
    rollout,
)

pytest.importorskip("ale_py")
cv2 = pytest.importorskip("cv2")


def emulator_seed(seed: int) -> int:
    """What the emulator is seeded with in a rollout of `seed`, in an environment of one game."""
    generator, _ = np_random(seed)
    generator.integers(1)
    return int(generator.integers(2**31))


def bare_simulator(game: str, seed: int) -> Any:
    import ale_py
    from ale_py import roms

    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.25)
    ale.setInt("random_seed", seed)
    rom = roms.get_rom_path(ROMS[game])
    assert rom is not None
    ale.loadROM(rom)
    ale.reset_game()
    return ale


def shrunk(screen: Array) -> Array:
    return cv2.resize(screen, (84, 84), interpolation=cv2.INTER_AREA)


def test_games_are_the_published_ones_and_installed() -> None:
    from ale_py import roms

    assert len(GAMES) == 10
    assert set(ROMS.values()) <= set(roms.get_all_rom_ids())
    published = Path(__file__).parents[2] / "workflow/reference/fig09_atari.csv"
    with published.open() as file:
        assert {row["panel"] for row in csv.DictReader(file)} == set(GAMES)
    assert HUMAN_SCORES.keys() == ROMS.keys()
    assert all(low < high for low, high in HUMAN_SCORES.values())


def test_keeps_the_contract() -> None:
    def make() -> MultiGameAtari:
        return MultiGameAtari(games=["Pong", "Breakout", "Qbert"], max_frames=200)

    check_gymnasium(make())
    check_reproducible(make)


def test_every_game_keeps_to_the_spaces() -> None:
    env = MultiGameAtari(max_frames=24)
    assert env.tasks == GAMES
    assert env.observation_space["image"] == spaces.Box(0, 255, (84, 84, 3), np.uint8)
    assert env.action_space == spaces.Discrete(18)
    with global_generators_untouched():
        for task in env.tasks:
            steps = rollout(env, seed=0, task=task)
            check_rollout(env, steps)
            assert len(steps) == 1 + 6
        for seed in range(20):
            check_rollout(env, rollout(env, seed))


@pytest.mark.parametrize("game", ["Breakout", "Qbert", "Boxing"])
def test_equals_the_bare_simulator_with_its_own_sticky_actions(game: str) -> None:
    env = MultiGameAtari(games=[game])
    observation, _ = env.reset(seed=11)
    ale = bare_simulator(game, emulator_seed(11))
    actions = np.random.default_rng(0)
    total = 0
    for _ in range(400):
        assert np.array_equal(observation["image"], shrunk(ale.getScreenRGB()))
        action = int(actions.integers(18))
        expected = sum(ale.act(action) for _ in range(4))
        total += expected
        observation, reward, terminated, truncated, info = env.step(action)
        assert reward == expected
        assert terminated == ale.game_over()
        assert not truncated
        if terminated:
            break
    assert np.array_equal(observation["image"], shrunk(ale.getScreenRGB()))
    assert terminated == (game != "Boxing")
    if terminated:
        assert info["attempt_return"] == total
        assert "success" not in info


def test_equals_the_vector_environment() -> None:
    from ale_py.vector_env import AtariVectorEnv

    bare = AtariVectorEnv(
        "breakout",
        1,
        repeat_action_probability=0.25,
        full_action_space=True,
        grayscale=False,
        stack_num=1,
        maxpool=False,
        noop_max=0,
        reward_clipping=False,
        use_fire_reset=False,
    )
    frame, _ = bare.reset(seed=emulator_seed(3))
    env = MultiGameAtari(games=["Breakout"])
    observation, _ = env.reset(seed=3)
    actions = np.random.default_rng(1)
    for _ in range(1000):
        assert np.array_equal(observation["image"], frame[0, 0])
        action = int(actions.integers(18))
        frame, expected, over, late, _ = bare.step(np.array([action]))
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated, truncated) == (expected[0], over[0], late[0])
        if terminated:
            break
    assert terminated
    bare.close()


def test_sticky_actions_repeat_what_was_done_before() -> None:
    asked = [int(action) for action in np.random.default_rng(0).integers(18, size=5_000)]
    sticky = StickyActions(5, 0.25)
    done = [frame for action in asked for frame in sticky.frames(action, 4)]
    wanted = np.repeat(asked, 4)
    kept = np.mean(wanted != done)
    # An action that comes late by one frame of four with probability 1/4, by two with 1/16, ...
    late = (0.25 + 0.25**2 + 0.25**3 + 0.25**4) / 4 * 17 / 18
    assert kept == pytest.approx(late, abs=0.005)
    assert set(done) <= {0, *asked}
    assert StickyActions(5, 0.0).frames(7, 4) == [7] * 4
    assert StickyActions(5, 1.0).frames(7, 4) == [0] * 4


def test_time_limit_truncates_and_lost_lives_do_not() -> None:
    env = MultiGameAtari(games=["Breakout"], max_frames=40, frame_skip=5)
    steps = rollout(env, seed=0)
    assert len(steps) == 1 + 8
    assert steps[-1][2:4] == (False, True)
    assert "attempt_return" in steps[-1][4]
    env = MultiGameAtari(games=["Breakout"])
    env.action_space.seed(0)
    env.reset(seed=0)
    lives, terminated = set(), False
    while not terminated:
        lives.add(env._emulator.ale.lives())
        terminated = env.step(env.action_space.sample())[2]
    assert lives == {5, 4, 3, 2, 1}
    assert env._horizon == 27_000


def test_clipped_rewards_go_to_the_agent_and_raw_ones_to_the_record() -> None:
    plain = rollout(MultiGameAtari(games=["Qbert"], max_frames=2_000), seed=2)
    clipped = rollout(MultiGameAtari(games=["Qbert"], max_frames=2_000, clip_rewards=True), seed=2)
    assert max(step[1] for step in plain) > 1
    assert [step[1] for step in clipped] == [float(np.clip(step[1], -1, 1)) for step in plain]
    assert clipped[-1][4]["attempt_return"] == plain[-1][4]["attempt_return"]
    assert plain[-1][4]["attempt_return"] == sum(step[1] for step in plain)


def test_slots_have_their_game_for_good() -> None:
    names = ["Pong", "Boxing", "Gopher"]
    slots = [MultiGameAtari(games=names, slot=index, max_frames=8) for index in range(6)]
    played = Counter(env.reset(seed=seed)[1]["task"] for env in slots for seed in range(4))
    assert played == dict.fromkeys(names, 8)
    assert slots[4].reset(seed=0)[1]["task"] == "Boxing"
    assert slots[4].reset(seed=0, options={"task": "Pong"})[1]["task"] == "Pong"
    assert slots[4].tasks == tuple(names)
    drawn = MultiGameAtari(games=names, max_frames=8)
    assert_same(rollout(drawn, 3, "Pong"), rollout(slots[0], 3))


def test_order_of_games_shows_nowhere() -> None:
    names = ["Pong", "Boxing", "Gopher"]
    forward = MultiGameAtari(games=names, max_frames=80)
    backward = MultiGameAtari(games=names[::-1], max_frames=80)
    for task in names:
        assert_same(rollout(forward, 3, task), rollout(backward, 3, task))


def test_environments_share_idle_emulators_only() -> None:
    first, second = (MultiGameAtari(games=["Pong", "Boxing"], max_frames=80) for _ in range(2))
    first.reset(seed=0, options={"task": "Pong"})
    second.reset(seed=0, options={"task": "Pong"})
    left = first._emulator
    assert left is not second._emulator
    first.reset(seed=0, options={"task": "Boxing"})
    assert _IDLE["Pong"][-1] is left
    second.close()
    second.close()
    counts = {game: len(idle) for game, idle in _IDLE.items()}
    second.reset(seed=1, options={"task": "Pong"})
    assert len(_IDLE["Pong"]) == counts["Pong"] - 1
    first.close()


def handles_and_threads() -> list[int]:
    gc.collect()
    return [len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task")]


def test_resets_leave_no_handles_and_no_threads() -> None:
    env = MultiGameAtari(games=["Pong", "Boxing", "Gopher"])
    for task in env.tasks:
        env.reset(seed=0, options={"task": task})
    before = handles_and_threads()
    for _ in range(100):
        env.reset()
    handles, threads = handles_and_threads()
    assert handles == before[0]
    assert threads <= before[1]  # those of earlier tests may end meanwhile
    assert all(len(idle) < 5 for idle in _IDLE.values())


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="games: unknown value 'pong'; choose from Pong"):
        MultiGameAtari(games=["pong"])
    with pytest.raises(ValueError, match="frame_skip: expected a whole number of at least 1"):
        MultiGameAtari(frame_skip=0)
    with pytest.raises(ValueError, match=r"sticky: expected a probability, not 1\.5"):
        MultiGameAtari(sticky=1.5)
    with pytest.raises(ValueError, match="max_frames: expected at least frame_skip, not 3"):
        MultiGameAtari(max_frames=3)
    with pytest.raises(ValueError, match="slot: expected a whole number of at least 0, not -1"):
        MultiGameAtari(slot=-1)
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[atari\]'"):
        MultiGameAtari()
