"""Stand-ins for the ROMs that nobody may ship.

Programs of our own for the two consoles. "Right" counts up what the games' scenarios reward, "A"
takes the last life, and the picture's colour shows the buttons.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.retro import ALL_TASKS
from envs.retro_roms import installed_name

stable_retro = pytest.importorskip("stable_retro")


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


def bare_simulator(game: str, state: Any) -> Any:
    return stable_retro.RetroEnv(installed_name(game), state, render_mode="rgb_array")
