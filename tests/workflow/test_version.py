"""The bulk of runs under DVC: a pointer each, made once, pullable alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow import version
from workflow.dag import Run

from . import project

RESULTS = Path("results/micro")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three finished runs and their bulk."""
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    for run in runs():
        project.finish(run, bulk=version.BULK)
    return folder


def runs() -> list[Run]:
    return list(project.the_plan().runs.values())[:3]


def dvc(*arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What DVC was asked to do."""
    asked: list[tuple[str, ...]] = []
    ask = version.dvc

    def note(*arguments: str, check: bool = True) -> str:
        asked.append(arguments)
        return ask(*arguments, check=check)

    monkeypatch.setattr(version, "dvc", note)
    return asked


def test_all_runs_in_one_call_and_each_can_be_pulled_alone(
    repository: Path, calls: list[tuple[str, ...]]
) -> None:
    versions = version.version(RESULTS)
    assert [call[0] for call in calls] == ["add", "config", "push"]
    assert set(versions) == {run.name for run in runs()}
    assert all(pointer.is_file() for run in runs() for pointer in run.pointers)
    assert not list(RESULTS.glob("**/.gitignore"))
    project.commit(repository)
    assert "checkpoint/" not in project.git(repository, "ls-files")

    calls.clear()
    assert version.version(RESULTS) == versions
    assert not calls

    shutil.rmtree(".dvc/cache")
    first, second, _ = runs()
    for run in (first, second):
        for bulk in version.BULK:
            shutil.rmtree(run.folder / bulk)
    dvc("pull", str(first.folder / "checkpoint.dvc"))
    assert (first.folder / "checkpoint" / "data").read_text() == f"{first.name} checkpoint"
    assert not (first.folder / "replay").exists()
    assert not (second.folder / "checkpoint").exists()
    assert project.git(repository, "status", "--porcelain") == ""


def test_a_run_trained_again_to_the_same_bits_keeps_its_pointers(repository: Path) -> None:
    before = version.version(RESULTS)
    run = runs()[0]
    pointers = [pointer.read_bytes() for pointer in run.pointers]
    shutil.rmtree(run.folder / "checkpoint")
    project.finish(run, ended="2026-02-02", bulk=version.BULK)
    after = version.version(RESULTS)
    assert [pointer.read_bytes() for pointer in run.pointers] == pointers
    assert before[run.name]["record"] != after[run.name]["record"]
    assert {k: v for k, v in before.items() if k != run.name} == {
        k: v for k, v in after.items() if k != run.name
    }


def test_a_run_trained_again_to_other_bits_gets_new_ones(repository: Path) -> None:
    before = version.version(RESULTS)
    run = runs()[0]
    project.finish(run, ended="2026-02-02", bulk=version.BULK)
    (run.folder / "replay" / "data").write_text("other")
    after = version.version(RESULTS)
    assert after[run.name]["replay"] != before[run.name]["replay"]
    assert after[run.name]["checkpoint"] == before[run.name]["checkpoint"]


def test_bulk_that_was_not_pulled_keeps_its_pointers(
    repository: Path, calls: list[tuple[str, ...]]
) -> None:
    before = version.version(RESULTS)
    for run in runs():
        for bulk in version.BULK:
            shutil.rmtree(run.folder / bulk)
    Path("results/micro/versioned.json").unlink()
    calls.clear()
    assert version.version(RESULTS) == before
    assert not calls
    assert json.loads(Path("results/micro/versioned.json").read_text()) == before


def test_what_goes_wrong_is_said_in_a_sentence(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = repository / ".dvc-storage"
    blocked.write_text("a file where the remote's folder should be")
    assert version.main([str(RESULTS)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("results/micro: bulk is not versioned: dvc push failed: ")
    assert said.count("\n") == 1
    assert not Path("results/micro/versioned.json").exists()
    blocked.unlink()
    assert version.main([str(RESULTS)]) == 0  # the next try succeeds

    shutil.rmtree(".dvc")
    Path("results/micro/versioned.json").unlink()
    assert version.main([str(RESULTS)]) == 1
    said = capsys.readouterr().err
    assert "there is no .dvc in this folder; `dvc init` makes one" in said
