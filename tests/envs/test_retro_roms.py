import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import retro_roms
from envs.retro import MultiGameRetro, RetroFree
from envs.retro_roms import MARIO_GAMES, RomMissing, import_folder, sha1
from workflow.cli.app import main

stable_retro = pytest.importorskip("stable_retro")

from tests.envs.retro_stand_ins import STAND_INS, folder  # noqa: E402

# One emulator in a process: these tests stay in one.
pytestmark = pytest.mark.xdist_group("retro")


@pytest.fixture(autouse=True)
def _close_emulators() -> Iterator[None]:
    yield
    for env in list(RetroFree._players):
        env.close()


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
