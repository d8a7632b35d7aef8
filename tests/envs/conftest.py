"""Fixtures of the Gym Retro tests."""

from pathlib import Path

import pytest

from envs.retro_roms import EXTENSIONS, MARIO_GAMES, console, sha1


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder like stable-retro's with the Mario games' own scenarios, around stand-ins."""
    import stable_retro

    from tests.envs.retro_stand_ins import STAND_INS, folder, record_states

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


@pytest.fixture
def mario(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import stable_retro

    monkeypatch.setattr(stable_retro.data, "path", lambda: str(stand_ins))
    return stand_ins
