"""`make clean`: what was made here goes, whatever else has such a name stays."""

import fcntl
from pathlib import Path

import pytest

from workflow.setup import __main__ as command_line
from workflow.setup import clean, environment

OURS = ("results/mini/.scratch", "results/mini/.logs", ".snakemake")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "installed")
    monkeypatch.setattr(environment, "MARKER", tmp_path / ".venv" / "made-by-setup")
    return tmp_path


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")


def test_what_was_made_here_is_removed_and_every_result_stays(root: Path) -> None:
    results = root / "results" / "mini"
    kept = [results / "runs/a/metrics.csv", results / "tables/a.csv", root / ".dvc-storage/x"]
    kept += [root / ".venv/lib/__pycache__/a.pyc", root / "envs/__pycache__/notes.txt"]
    for name in OURS:
        clean.mark(root / name)
        put(root / name / "a" / "b")
    put(*kept, root / "envs/__pycache__/a.pyc", root / "workflow/a/__pycache__/a.pyc")
    put(root / ".mypy_cache/a")
    (root / ".mypy_cache/CACHEDIR.TAG").write_text(f"{clean.CACHE_TAG}\n# by mypy\n")
    assert command_line.main(["clean"]) == 0
    assert all(path.exists() for path in kept)
    gone = [*OURS, ".mypy_cache", "envs/__pycache__/a.pyc", "workflow/a/__pycache__"]
    assert not any((root / name).exists() for name in gone)


def test_what_only_has_such_a_name_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = (*OURS, ".mypy_cache", ".ruff_cache", "build", "my.egg-info")
    put(*(root / name / "a" for name in names))
    put(root / "elsewhere/a")
    (root / "results/link").mkdir()
    (root / "results/link/.scratch").symlink_to(root / "elsewhere")
    (root / "elsewhere" / clean.MARKER).touch()
    clean.clean()
    assert all((root / name / "a").exists() for name in (*names, "elsewhere"))
    said = capsys.readouterr().out
    assert f"{root / OURS[0]} stays: nothing in it says that this project made it" in said
    assert ".scratch stays: it is a link" in said


def test_a_folder_that_was_there_is_not_marked(root: Path) -> None:
    put(root / ".logs" / "a")
    clean.mark(root / ".logs")
    assert not (root / ".logs" / clean.MARKER).exists()


def test_a_venv_is_removed_only_if_set_up_made_it(root: Path) -> None:
    put(root / ".venv/bin/python")
    with pytest.raises(SystemExit, match=r"\.venv was not made by set-up"):
        clean.clean(everything=True)
    environment.MARKER.touch()
    clean.clean(everything=True)
    assert not (root / ".venv").exists()
    (root / "other").mkdir()
    (root / ".venv").symlink_to("other")
    with pytest.raises(SystemExit, match=r"\.venv is a link to other"):
        clean.clean(everything=True)
    assert (root / "other").is_dir()


def test_nothing_is_removed_during_a_reproduction(root: Path) -> None:
    clean.mark(root / ".snakemake")
    with (root / ".snakemake/reproduce.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="`make reproduce` is running here"):
            clean.clean()
    assert (root / ".snakemake").exists()
