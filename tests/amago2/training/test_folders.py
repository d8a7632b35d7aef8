"""A run deletes and replaces what it made, and nothing else."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from amago2 import run_record
from amago2.errors import ConfigError, RunError
from amago2.folders import RUN, SCRATCH, claim
from amago2.training import checkpoint, publish
from amago2.training.amago_trainer import train
from amago2.training.scratch import default_scratch
from tests.amago2.toy import small
from tests.amago2.training.test_train import content, interrupted_at

QUICK: dict[str, Any] = {
    "collector": {"epochs": 1},
    "evaluation": {"rollouts": 1, "final_rollouts": 1},
    "learner": {"updates_per_epoch": 1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(**QUICK), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A user's own folder, whose files have the names of a run's."""
    folder = tmp_path / "documents"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("thesis.tex", "config.yaml", "lock", "metrics.csv", "checkpoints/best"):
        (folder / name).write_text("mine\n")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("entry_point", ["tests.amago2.toy:Toy", "tests.amago2.toy:Tooy"])
def test_a_users_folder_is_no_scratch_folder(
    tmp_path: Path, documents: Path, entry_point: str
) -> None:
    before = files(documents)
    with pytest.raises(ConfigError, match=r"documents: holds files that are not part of a run"):
        train(small(**QUICK, env={"entry_point": entry_point}), tmp_path / "run", documents)
    assert files(documents) == before
    assert not (tmp_path / "run").exists()


def test_a_users_folder_is_no_runs_folder(tmp_path: Path, documents: Path) -> None:
    (documents / "thesis.tex").unlink()
    before = files(documents)
    with pytest.raises(ConfigError, match=r"documents: holds files that are not part of a run"):
        train(small(**QUICK), documents)
    assert files(documents) == before
    assert not default_scratch(documents).exists()


def test_a_finished_run_deletes_only_its_own_scratch_folder(
    tmp_path: Path, finished: Path, documents: Path
) -> None:
    before = files(documents)
    train(small(**QUICK), finished, documents)
    assert files(documents) == before
    interrupted_at(small(seed=1), tmp_path / "other", 2)
    other = default_scratch(tmp_path / "other")
    before = files(other)
    train(small(**QUICK), finished, other)
    assert files(other) == before


def test_folders_around_the_user_or_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "a" / "here", tmp_path / "b" / "home"
    here.mkdir(parents=True)
    home.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    around = "is the present or the home folder, or a folder around it"
    for folder in (".", "..", "/", "../here", home, home.parent):
        with pytest.raises(ConfigError, match=around):
            train(small(**QUICK), Path("run"), Path(folder))
        with pytest.raises(ConfigError, match=around):
            train(small(**QUICK), Path(folder))
    for out, scratch in (("s/run", "s"), ("run", "run/s"), ("run", "run"), ("run", "./x/../run")):
        with pytest.raises(ConfigError, match="must lie neither in nor around"):
            train(small(**QUICK), Path(out), Path(scratch))
    assert not list(here.iterdir())


def test_links_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="link: is a link; name the folder itself"):
        train(small(**QUICK), tmp_path / "run", tmp_path / "link")
    with pytest.raises(ConfigError, match="broken: is a link to nothing"):
        train(small(**QUICK), tmp_path / "broken")
    with pytest.raises(ConfigError, match="file: is a file"):
        train(small(**QUICK), tmp_path / "run", tmp_path / "file")
    with pytest.raises(ConfigError, match=r"file/run: cannot be made, as .*file is a file"):
        train(small(**QUICK), tmp_path / "file" / "run", tmp_path / "s")


def test_a_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and real(path, mode))
    with pytest.raises(ConfigError, match="run: cannot be written to, as you may not write to"):
        train(small(**QUICK), tmp_path / "run", tmp_path / "s" / "t")


def test_a_users_empty_folder_and_later_files_stay(tmp_path: Path) -> None:
    empty, scratch = tmp_path / "empty", default_scratch(tmp_path / "run")
    empty.mkdir()
    with pytest.raises(ConfigError):
        train(small(env={"entry_point": "tests.amago2.toy:Tooy"}), tmp_path / "x", empty)
    assert list(empty.iterdir()) == []
    train(small(**QUICK), tmp_path / "x", empty)
    assert list(empty.iterdir()) == []
    claim(scratch, SCRATCH)
    (scratch / "notes.txt").write_text("mine")
    train(small(**QUICK), tmp_path / "run")
    assert files(scratch) == {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("name", "after"), [("checkpoint", True), ("record.json", False), ("record.json", True)]
)
def test_a_kill_while_publishing_leaves_nothing_stuck(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    real, out = checkpoint.move_into_place, tmp_path / "run"

    def killed(path: Path, final: Path) -> None:
        if final.name != name or after:
            real(path, final)
        if final.name == name:
            (out / publish.PARTIAL / ".record.json.123.tmp").touch()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "move_into_place", killed)
        with pytest.raises(KeyboardInterrupt):
            train(small(**QUICK), out)
    assert (out / RUN).exists()
    train(small(**QUICK), out)
    assert content(out) == content(finished)
    assert {path.name for path in out.iterdir()} == {path.name for path in finished.iterdir()}
    assert not default_scratch(out).exists()


def test_a_kill_before_training_began_leaves_nothing_stuck(tmp_path: Path, finished: Path) -> None:
    """Half of a run to continue, and a checkpoint that is not whole, but no configuration yet."""
    scratch = default_scratch(tmp_path / "run")
    claim(scratch, SCRATCH)
    for name in ("checkpoints/epoch-00000001/state.json", "replay/tokens-00000.npy", "metrics.csv"):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_text("half")
    assert content(train(small(**QUICK), tmp_path / "run")) == content(finished)
    assert not scratch.exists()


def test_a_scratch_folder_on_another_disk_is_published_by_copying(
    tmp_path: Path, finished: Path
) -> None:
    disk = Path("/dev/shm")  # a disk of its own on every Linux machine
    if not os.access(disk, os.W_OK) or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    scratch = disk / f"amago2-test-{os.getpid()}"
    try:
        run = train(small(**QUICK, replay={"capacity": 150, "shard_size": 5}), tmp_path, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert len(list((run / "replay").glob("tokens-*"))) > 1
    assert content(run)["metrics.csv"] == content(finished)["metrics.csv"]


def test_published_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run = train(small(**QUICK), tmp_path / "run")
    finally:
        os.umask(before)
    for path in (run, *run.rglob("*")):
        wanted = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_a_run_starts_from_is_remembered(tmp_path: Path, finished: Path) -> None:
    longer = small(**{**QUICK, "collector": {"epochs": 3}})
    interrupted_at(longer, tmp_path / "begun", 2)
    with pytest.raises(ConfigError, match=r"has begun already, from nothing and not from .*run"):
        train(longer, tmp_path / "begun", continue_from=finished)
    again = shutil.copytree(finished, tmp_path / "another")
    record = json.loads((again / "record.json").read_text())
    (again / "record.json").write_text(run_record.seal(record | {"hash": "0" * 8}))
    run = train(longer, tmp_path / "continued", continue_from=finished)
    assert train(longer, run, continue_from=finished) == run
    with pytest.raises(ConfigError, match=r"has begun already, from a finished run of hash"):
        train(longer, run, continue_from=again)


@pytest.mark.parametrize("epoch", ["../../../x", -1, 2, 1.0, True, None])
def test_the_epoch_of_a_finished_run_is_that_of_its_configuration(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, epoch: object
) -> None:
    read = checkpoint.read

    def damaged(*arguments: Any, **options: Any) -> checkpoint.Checkpoint:
        found = read(*arguments, **options)
        found.state["epoch"] = epoch
        return found

    monkeypatch.setattr(checkpoint, "read", damaged)
    longer = small(**{**QUICK, "collector": {"epochs": 3}})
    with pytest.raises(RunError, match=r"state\.json says epoch .*, which must be 1"):
        train(longer, tmp_path / "run", continue_from=finished)
    assert not list(tmp_path.iterdir())
