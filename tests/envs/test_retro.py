import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from amago2.env.spaces import Array
from envs.contract import MultiTaskEnv, SimulatorMissing
from envs.retro import (
    ALL_TASKS,
    COLOURS,
    HORIZON,
    TEST_TASKS,
    TRAIN_TASKS,
    EmulatorTaken,
    MultiGameRetro,
    RetroFree,
)
from envs.retro_roms import (
    MARIO_GAMES,
    RomMissing,
    console,
    installed_name,
)
from tests.envs.contract_checks import (
    Step,
    assert_same,
    check_gymnasium,
    check_rollout,
    global_generators_untouched,
    rollout,
)

stable_retro = pytest.importorskip("stable_retro")
cv2 = pytest.importorskip("cv2")
from tests.envs.retro_stand_ins import bare_simulator  # noqa: E402

# One emulator in a process: these tests stay in one.
pytestmark = pytest.mark.xdist_group("retro")


@pytest.fixture(autouse=True)
def _close_emulators() -> Iterator[None]:
    yield
    for env in list(RetroFree._players):
        env.close()


def framed(screen: Array, kind: str) -> Array:
    image = np.empty((84, 84, 3), np.uint8)
    image[:] = COLOURS[kind]
    shrunk = cv2.resize(screen, (84, 84), interpolation=cv2.INTER_AREA)
    image[2:82, 2:82] = shrunk[2:82, 2:82]
    return image


def bare_rollout(env: Any, kind: str, actions: Array) -> list[tuple[bytes, float, bool]]:
    """(image, reward, over) at the reset and after each action, of eight frames of a bare game."""
    screen, _ = env.reset()
    steps, over = [(framed(screen, kind).tobytes(), 0.0, False)], False
    for action in actions:
        total = 0.0
        for _ in range(8):
            screen, reward, over, _, _ = env.step(action[: env.num_buttons])
            total += reward
            if over:
                break
        steps.append((framed(screen, kind).tobytes(), total, over))
        if over:
            break
    return steps


def our_rollout(env: MultiTaskEnv, task: str, actions: Array) -> list[tuple[bytes, float, bool]]:
    observation, _ = env.reset(seed=0, options={"task": task})
    steps = [(observation["image"].tobytes(), 0.0, False)]
    for action in actions:
        observation, reward, terminated, _, _ = env.step(action)
        steps.append((observation["image"].tobytes(), reward, terminated))
        if terminated:
            break
    return steps


# --- the free game -------------------------------------------------------------------------------


def test_the_free_game_keeps_the_contract() -> None:
    env = RetroFree(horizon=12)
    check_gymnasium(env)
    assert env.tasks == ("airstriker_x1", "airstriker_x10", "airstriker_x100")
    assert env.observation_space["image"] == spaces.Box(0, 255, (84, 84, 3), np.uint8)
    assert env.action_space == spaces.MultiBinary(12)
    with global_generators_untouched():
        rollouts = [rollout(env, seed) for seed in (3, *[None] * 20)]
    for steps in rollouts:
        check_rollout(env, steps)
        assert len(steps) == 1 + 12
    assert {steps[0][4]["task"] for steps in rollouts} == set(env.tasks)
    for steps in rollouts[1:]:
        assert [step[0]["image"].tobytes() for step in steps] == [
            step[0]["image"].tobytes() for step in rollouts[0]
        ]
    env.reset(seed=3)
    assert_same(rollout(env, 3), rollouts[0])
    assert_same(rollout(env, None), rollouts[1])


def test_the_free_game_equals_the_bare_simulator_until_it_is_over() -> None:
    actions = np.random.default_rng(0).integers(2, size=(400, 12))
    bare = bare_simulator("Airstriker-Genesis", "Level1")
    expected = bare_rollout(bare, "Genesis", actions)
    bare.close()
    env = RetroFree()
    rollout(env, seed=0, limit=5)  # whatever was played before
    assert our_rollout(env, "airstriker_x1", actions) == expected
    assert expected[-1][2]
    assert sum(step[1] for step in expected) > 0


def test_scaled_rewards_go_to_the_agent_and_raw_ones_to_the_record() -> None:
    env = RetroFree(scales=[1, 0.1, 1000], horizon=100)
    assert env.tasks == ("airstriker_x1", "airstriker_x0.1", "airstriker_x1000")
    plain, *others = (rollout(env, 0, task) for task in env.tasks)
    total = plain[-1][4]["attempt_return"]
    assert total == sum(step[1] for step in plain) > 0
    for scale, steps in zip((0.1, 1000.0), others, strict=True):
        assert [step[1] for step in steps] == [step[1] * scale for step in plain]
        assert steps[-1][4]["attempt_return"] == total


def test_eight_minutes_truncate() -> None:
    assert HORIZON == 3_600
    assert RetroFree()._horizon == 3_600
    steps = rollout(RetroFree(horizon=7), seed=0)
    assert len(steps) == 1 + 7
    assert steps[-1][2:4] == (False, True)
    assert "attempt_return" in steps[-1][4]


def test_a_second_emulator_is_refused_in_a_sentence() -> None:
    first, second = RetroFree(), RetroFree()
    first.reset(seed=0)
    with pytest.raises(EmulatorTaken, match="step each environment in a process of its own") as why:
        second.reset(seed=0)
    assert "\n" not in str(why.value)
    first.step(np.zeros(12))
    first.close()
    first.close()
    second.reset(seed=0)


def test_an_environment_dropped_without_close_gives_its_emulator_back() -> None:
    dropped: list[Any] = [RetroFree()]
    dropped[0].reset(seed=0)
    dropped.append(dropped)  # only the garbage collector finds it
    del dropped
    RetroFree().reset(seed=0)


def handles_and_threads() -> list[int]:
    gc.collect()
    return [len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task")]


def test_resets_leave_no_handles_and_no_threads() -> None:
    env = RetroFree()
    env.reset(seed=0)
    before = handles_and_threads()
    for _ in range(100):
        env.reset()
    assert handles_and_threads() == before


def test_plays_without_a_display() -> None:
    code = (
        "import numpy as np\n"
        "from envs.retro import RetroFree\n"
        "env = RetroFree()\n"
        "env.reset(seed=0)\n"
        "print(env.step(np.zeros(12))[0]['image'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert (done.stdout, done.stderr) == ("(84, 84, 3)\n", "")


# --- Super Mario ---------------------------------------------------------------------------------


def test_start_states_are_the_published_ones_and_installed() -> None:
    assert (len(TRAIN_TASKS), len(TEST_TASKS), len(ALL_TASKS)) == (40, 12, 52)
    by_game = [sum(task.game == game for task in TRAIN_TASKS.values()) for game in MARIO_GAMES]
    assert by_game == [6, 8, 3, 23]
    for task in ALL_TASKS.values():
        assert task.start in stable_retro.data.list_states(installed_name(task.game))
        assert task.scale == 1


@pytest.mark.usefixtures("mario")
def test_mario_keeps_the_contract() -> None:
    env = MultiGameRetro(horizon=5)
    assert env.tasks == tuple(TRAIN_TASKS)
    check_gymnasium(env)
    with global_generators_untouched():
        rollouts: list[list[Step]] = [rollout(env, seed) for seed in (7, *[None] * 19)]
    for steps in rollouts:
        check_rollout(env, steps)
    for task in TRAIN_TASKS:
        check_rollout(env, rollout(env, 0, task))
    for seed, expected in zip((7, None, None), rollouts, strict=False):
        assert_same(rollout(env, seed), expected)
    held_out = MultiGameRetro(split="eval", horizon=5)
    assert held_out.tasks == tuple(TEST_TASKS)
    assert not set(held_out.tasks) & set(env.tasks)
    env.close()
    assert held_out.reset(seed=0)[1]["split"] == "eval"


@pytest.mark.usefixtures("mario")
@pytest.mark.parametrize(
    "task",
    [
        "SuperMarioBros-Nes:Level8-1",
        "SuperMarioBros2Japan-Nes:Level6-2",
        "SuperMarioBros3-Nes:1Player.World1.Castle",
        "SuperMarioWorld-Snes:YoshiIsland3",
    ],
)
def test_mario_equals_the_bare_simulator(task: str) -> None:
    game, kind = ALL_TASKS[task].game, console(ALL_TASKS[task].game)
    actions = np.random.default_rng(1).integers(2, size=(25, 12))
    actions[:, 8] = 0  # A
    actions[20:] = np.arange(12) == 8
    bare = bare_simulator(game, ALL_TASKS[task].start)
    expected = bare_rollout(bare, kind, actions)
    bare.close()
    env = MultiGameRetro(starts=list(ALL_TASKS))
    rollout(env, seed=0, limit=3)  # whatever was played before
    assert our_rollout(env, task, actions) == expected
    assert len(expected) == 1 + 21
    assert expected[-1][2]
    assert any(step[1] > 0 for step in expected)


@pytest.mark.usefixtures("mario")
def test_the_frame_tells_the_console_and_buttons_that_it_lacks_do_nothing() -> None:
    env = MultiGameRetro(starts=["SuperMarioBros-Nes:Level1-1", "SuperMarioWorld-Snes:Start"])
    for task in env.tasks:
        kind = console(ALL_TASKS[task].game)
        image = env.reset(seed=0, options={"task": task})[0]["image"]
        for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
            assert (edge == COLOURS[kind]).all()
        assert not (image[2:-2, 2:-2] == COLOURS[kind]).all(-1).any()
    lacking = np.zeros((5, 12), np.int8)
    lacking[:, [1, 9, 10, 11]] = 1
    task = env.tasks[0]
    assert our_rollout(env, task, lacking) == our_rollout(env, task, np.zeros_like(lacking))


@pytest.mark.usefixtures("mario")
def test_order_of_starts_shows_nowhere() -> None:
    names = ["SuperMarioBros-Nes:Level1-1", "SuperMarioWorld-Snes:Start"]
    forward = MultiGameRetro(starts=names, horizon=5)
    expected = [rollout(forward, 3, task) for task in names]
    forward.close()
    backward = MultiGameRetro(starts=names[::-1], horizon=5)
    for task, steps in zip(names, expected, strict=True):
        assert_same(rollout(backward, 3, task), steps)


def test_bad_arguments_are_refused(mario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="games: unknown value 'SuperMario'; choose from SuperMar"):
        MultiGameRetro(games=["SuperMario"])
    with pytest.raises(ValueError, match="starts: unknown value 'SuperMarioBros-Nes:Level1-9'"):
        MultiGameRetro(starts=["SuperMarioBros-Nes:Level1-9"])
    with pytest.raises(ValueError, match="starts: unknown value 'SuperMarioBros-Nes:Level1-1'"):
        MultiGameRetro(games=["SuperMarioWorld-Snes"], starts=["SuperMarioBros-Nes:Level1-1"])
    with pytest.raises(ValueError, match="split: unknown value 'test'"):
        MultiGameRetro(split="test")
    with pytest.raises(ValueError, match="frame_skip: expected a whole number of at least 1"):
        RetroFree(frame_skip=0)
    with pytest.raises(ValueError, match="scales: a name is listed twice"):
        RetroFree(scales=[1, 1.0])
    monkeypatch.setitem(sys.modules, "stable_retro", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[retro\]'") as why:
        RetroFree()
    assert not isinstance(why.value, RomMissing)
