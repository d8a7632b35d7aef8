"""The ROMs of the Gym Retro benchmark.

stable-retro ships one free game. Those of the benchmark are their owners' to add, from a folder of
their own (searched whole, .zip archives too). Files are known by their SHA-1 in stable-retro's own
`rom.sha`, never by their names, and copied to where stable-retro looks for them.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from envs.contract import SimulatorMissing, require

MARIO_GAMES = (
    "SuperMarioBros-Nes",
    "SuperMarioBros2Japan-Nes",
    "SuperMarioBros3-Nes",
    "SuperMarioWorld-Snes",
)
FREE_GAME = "Airstriker-Genesis"
EXTENSIONS = {"Nes": ".nes", "Snes": ".sfc", "Genesis": ".md"}
# Larger files are no ROMs of these consoles.
MAX_BYTES = 2**25
REMEDY = "add your own copy with `make retro-roms FROM=folder`"


class RomMissing(SimulatorMissing):
    """A ROM is missing, or another one is in its place; the simulator itself is there."""


def stable_retro() -> ModuleType:
    """The simulator; its viewer is told not to look for a display."""
    os.environ.setdefault("PYGLET_HEADLESS", "1")
    return require("stable_retro", "retro")


def installed_name(game: str) -> str:
    """The name of `game` in stable-retro."""
    return f"{game}-v0"


def console(game: str) -> str:
    """The console of `game`: "Nes", "Snes" or "Genesis"."""
    return game.rsplit("-", 1)[1]


def sha1(content: bytes, kind: str) -> str:
    """The SHA-1 that `rom.sha` means: without the header of 16 bytes that NES files begin with."""
    return hashlib.sha1(content[16:] if kind == "Nes" else content).hexdigest()


@dataclass(frozen=True)
class Rom:
    """Where the ROM of a game belongs, the SHA-1s it may have, and the one found there, if any."""

    game: str
    path: Path
    expected: tuple[str, ...]
    found: str | None

    @classmethod
    def of(cls, game: str) -> Rom:
        """The ROM of `game`, looked up in stable-retro's folders."""
        data = stable_retro().data
        known = data.get_file_path(installed_name(game), "rom.sha", data.Integrations.STABLE)
        path = Path(known).with_name("rom" + EXTENSIONS[console(game)])
        found = sha1(path.read_bytes(), console(game)) if path.is_file() else None
        return cls(game, path, tuple(Path(known).read_text().split()), found)

    @property
    def problem(self) -> str | None:
        """What is wrong, as what is said of the ROM; None if nothing is."""
        wanted = " or ".join(self.expected)
        if self.found is None:
            return f"is missing (SHA-1 {wanted})"
        if self.found not in self.expected:
            return f"has SHA-1 {self.found} instead of {wanted}"
        return None


def check(games: Sequence[str]) -> None:
    """Raise `RomMissing`, one sentence that names all of them, unless all ROMs are as they must."""
    problems = [(rom.game, rom.problem) for rom in map(Rom.of, games) if rom.problem]
    if problems:
        listed = "; ".join(f"the ROM of {game} {problem}" for game, problem in problems)
        raise RomMissing(f"{listed}: {REMEDY}")


def missing() -> str | None:
    """A sentence on the Super Mario ROMs that are missing or wrong, and how to add them.

    None if all are there, and also if the simulator is not installed.
    """
    try:
        wrong = [rom.game for rom in map(Rom.of, MARIO_GAMES) if rom.problem]
    except SimulatorMissing:
        return None
    return f"no ROM, or not the right one, of {', '.join(wrong)}; {REMEDY}" if wrong else None


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of a file, or of each file in a .zip archive, but for those too large."""
    if path.suffix.lower() != ".zip":
        if path.stat().st_size <= MAX_BYTES:
            yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() and entry.file_size <= MAX_BYTES:
                yield f"{path.name}:{entry.filename}", archive.read(entry)


def candidates(content: bytes) -> Iterator[tuple[bytes, str]]:
    """(ROM, console) as which a file's content may be meant."""
    if content[:4] == b"NES\x1a":
        yield content, "Nes"
        return
    for kind in ("Snes", "Genesis"):
        yield content, kind
    if len(content) % 1024 == 512:  # the header that SNES copiers wrote
        yield content[512:], "Snes"


def write(path: Path, content: bytes) -> None:
    """Write a file under its final name only when it is whole."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_bytes(content)
    os.replace(scratch, path)


def import_folder(folder: Path, games: Sequence[str]) -> list[str]:
    """Install what is found of the ROMs of `games`; a line on each file that looks like a ROM."""
    roms = [Rom.of(game) for game in games]
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            lines += [line for name, data in contents(path) if (line := _take(name, data, roms))]
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            lines.append(f"{path.name}: not a readable archive ({error})")
    return lines


def _take(name: str, content: bytes, roms: Sequence[Rom]) -> str | None:
    for data, kind in candidates(content):
        for rom in roms:
            if console(rom.game) == kind and sha1(data, kind) in rom.expected:
                write(rom.path, data)
                return f"{name}: {rom.game}, installed"
    kinds = {extension: kind for kind, extension in EXTENSIONS.items()} | {".smc": "Snes"}
    found = kinds.get(Path(name).suffix.lower())
    return f"{name}: SHA-1 {sha1(content, found)}, none of these games" if found else None
