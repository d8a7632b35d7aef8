import gc
import gzip
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from amago2.env.spaces import Array
from envs import retro_roms
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
    EXTENSIONS,
    MARIO_GAMES,
    RomMissing,
    console,
    import_folder,
    installed_name,
    sha1,
)
from tests.envs.contract_checks import (
    Step,
    assert_same,
    check_gymnasium,
    check_rollout,
    global_generators_untouched,
    rollout,
)
from workflow.cli.app import main

stable_retro = pytest.importorskip("stable_retro")
cv2 = pytest.importorskip("cv2")
# One emulator in a process: these tests stay in one.
pytestmark = pytest.mark.xdist_group("retro")


@pytest.fixture(autouse=True)
def _close_emulators() -> Iterator[None]:
    yield
    for env in list(RetroFree._players):
        env.close()


# --- stand-ins for the ROMs that nobody may ship -------------------------------------------------
# Programs of our own for the two consoles. "Right" counts up what the games' scenarios reward, "A"
# takes the last life, and the picture's colour shows the buttons.


def nes_rom() -> bytes:
    program = bytes.fromhex(
        "78 D8 A2 FF 9A A9 00 8D 00 20 8D 01 20 8D 1C 07 85 90 A9 02 8D 5A 07 8D 36 07"
        "2C 02 20 10 FB A9 01 8D 16 40 A9 00 8D 16 40"  # wait for a frame, latch the buttons
        "A2 08 AD 16 40 4A 26 00 CA D0 F7"  # read eight: A B select start up down left right
        "A9 3F 8D 06 20 A9 00 8D 06 20 A5 00 29 3F 8D 07 20"  # colour the background
        "A9 3F 8D 06 20 A9 00 8D 06 20"
        "A5 00 29 01 F0 05 EE 1C 07 E6 90"  # right
        "A5 00 29 80 F0 08 A9 FF 8D 5A 07 8D 36 07"  # A
        "4C 1A C0"
    )
    bank = program.ljust(0x4000 - 6, b"\xea") + bytes.fromhex("00C0 00C0 00C0")
    return b"NES\x1a\x01\x01" + bytes(10) + bank + bytes(0x2000)


def snes_rom() -> bytes:
    program = bytes.fromhex(
        "78 D8 A2 FF 9A A9 81 8D 00 42 A9 0F 8D 00 21 A9 05 8D BE 0D"  # five lives
        "9C 34 0F 9C 35 0F 9C 36 0F 9C 37 0F"  # no score
        "AD 12 42 30 FB AD 12 42 10 FB AD 12 42 4A B0 FA"  # wait for a frame and its buttons
        "9C 21 21 AD 19 42 8D 22 21 9C 22 21"  # colour the background
        "29 01 F0 03 EE 34 0F"  # right
        "AD 18 42 29 80 F0 05 A9 FF 8D BE 0D"  # A
        "4C 20 80"
    )
    rom = bytearray(program.ljust(0x8000, b"\0"))
    rom[0x100] = 0x40  # interrupts return at once
    rom[0x7FC0:0x7FDC] = b"STAND-IN".ljust(21) + bytes([0x20, 0, 5, 0, 1, 0, 0])
    rom[0x7FE4:0x8000] = bytes.fromhex("0081") * 14
    rom[0x7FFC:0x7FFE] = bytes.fromhex("0080")
    return bytes(rom)


STAND_INS = {"Nes": nes_rom(), "Snes": snes_rom()}


def folder(root: Path, game: str) -> Path:
    return root / "stable" / installed_name(game)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder like stable-retro's with the Mario games' own scenarios, around stand-ins."""
    own, root = Path(stable_retro.data.path()), tmp_path_factory.mktemp("retro")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_retro.data, "path", lambda: str(root))
        for game in MARIO_GAMES:
            there, rom = folder(root, game), STAND_INS[console(game)]
            there.mkdir(parents=True)
            for name in ("data.json", "scenario.json", "metadata.json"):
                (there / name).write_bytes((folder(own, game) / name).read_bytes())
            (there / "rom.sha").write_text(sha1(rom, console(game)) + "\n")
            (there / ("rom" + EXTENSIONS[console(game)])).write_bytes(rom)
            record_states(game, there)
    return root


def record_states(game: str, there: Path) -> None:
    """One start state for each name, a few frames apart."""
    env = bare_simulator(game, stable_retro.State.NONE)
    env.reset()
    right = np.arange(env.num_buttons) == env.buttons.index("RIGHT")
    for task in ALL_TASKS.values():
        if task.game == game:
            for _ in range(3):
                env.step(right)
            (there / f"{task.start}.state").write_bytes(gzip.compress(env.em.get_state()))
    env.close()


@pytest.fixture
def mario(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stable_retro.data, "path", lambda: str(stand_ins))
    return stand_ins


def bare_simulator(game: str, state: Any) -> Any:
    return stable_retro.RetroEnv(installed_name(game), state, render_mode="rgb_array")


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


# --- ROMs ----------------------------------------------------------------------------------------


@pytest.fixture
def bare_folder(mario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder without ROMs."""
    root = tmp_path / "data"
    for game in MARIO_GAMES:
        there = folder(root, game)
        there.mkdir(parents=True)
        (there / "rom.sha").write_bytes((folder(mario, game) / "rom.sha").read_bytes())
    # The three games of one console have the same stand-in: let only the first be known by it.
    for game in MARIO_GAMES[1:3]:
        (folder(root, game) / "rom.sha").write_text(hashlib.sha1(game.encode()).hexdigest())
    monkeypatch.setattr(stable_retro.data, "path", lambda: str(root))
    return root


def test_missing_and_wrong_roms_are_named_with_their_hashes(bare_folder: Path) -> None:
    with pytest.raises(RomMissing, match="make retro-roms FROM=folder") as why:
        MultiGameRetro()
    sentence = str(why.value)
    assert "\n" not in sentence
    for game in MARIO_GAMES:
        wanted = (folder(bare_folder, game) / "rom.sha").read_text().strip()
        assert f"the ROM of {game} is missing (SHA-1 {wanted})" in sentence
    (folder(bare_folder, "SuperMarioWorld-Snes") / "rom.sfc").write_bytes(b"another")
    with pytest.raises(RomMissing) as why:
        MultiGameRetro(games=["SuperMarioWorld-Snes"])
    another, wanted = (hashlib.sha1(rom).hexdigest() for rom in (b"another", STAND_INS["Snes"]))
    assert f"SuperMarioWorld-Snes has SHA-1 {another} instead of {wanted}" in str(why.value)
    assert "SuperMarioBros" not in str(why.value)


def test_roms_are_imported_by_their_hash(
    bare_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    (own / "deep").mkdir(parents=True)
    (own / "deep" / "any name").write_bytes(STAND_INS["Nes"])
    (own / "wrong.nes").write_bytes(STAND_INS["Nes"] + b"!")
    (own / "notes.txt").write_text("hello")
    (own / "broken.zip").write_bytes(b"PK")
    with zipfile.ZipFile(own / "games.zip", "w") as archive:
        archive.writestr("../world.smc", bytes(512) + STAND_INS["Snes"])  # a copier's header
    assert main(["roms", "import", str(own)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("broken.zip: not a readable archive")
    wrong = sha1(STAND_INS["Nes"] + b"!", "Nes")
    assert lines[1:4] == [
        "any name: SuperMarioBros-Nes, installed",
        "games.zip:../world.smc: SuperMarioWorld-Snes, installed",
        f"wrong.nes: SHA-1 {wrong}, none of these games",
    ]
    assert lines[4] == "SuperMarioBros-Nes is there"
    assert lines[5].startswith("SuperMarioBros2Japan-Nes is missing (SHA-1 ")
    assert lines[7:] == ["SuperMarioWorld-Snes is there", retro_roms.REMEDY]
    assert (folder(bare_folder, MARIO_GAMES[0]) / "rom.nes").read_bytes() == STAND_INS["Nes"]
    assert (folder(bare_folder, MARIO_GAMES[3]) / "rom.sfc").read_bytes() == STAND_INS["Snes"]
    assert not list(bare_folder.rglob("*.tmp"))
    MultiGameRetro(games=["SuperMarioBros-Nes", "SuperMarioWorld-Snes"])
    with pytest.raises(RomMissing):
        MultiGameRetro(games=["SuperMarioBros3-Nes"])


def test_status_says_what_is_there(mario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roms", "status"]) == 0
    assert capsys.readouterr().out == "".join(f"{game} is there\n" for game in MARIO_GAMES)


def test_a_folder_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roms", "import", "no/such/folder"]) == 2
    assert "no/such/folder is not a folder" in capsys.readouterr().err


def test_large_files_are_not_read(bare_folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "film.sfc").open("wb") as file:
        file.truncate(retro_roms.MAX_BYTES + 1)
    lines = import_folder(tmp_path, MARIO_GAMES)
    assert not any("film" in line for line in lines)
    assert json.dumps(lines) == "[]"
