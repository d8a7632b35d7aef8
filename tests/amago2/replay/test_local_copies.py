"""Replay sampled from copies on a nearer disk: the same bits, and nothing but a convenience."""

import errno
import os
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from amago2.folders import SCRATCH
from amago2.replay.local_copies import LocalCopies, copies_folder
from amago2.training.amago_trainer import train
from tests.amago2.toy import small

CONFIG = small(replay={"shard_size": 8}, collector={"epochs": 3})


def shard(folder: Path, number: int, content: str = "x") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"tokens-{number:05}.npy"
    path.write_text(content)
    return path


def test_a_run_has_the_same_bits_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, disk = train(CONFIG, tmp_path / "plain"), tmp_path / "disk"
    disk.mkdir()
    read: list[Path] = []
    of = LocalCopies.of

    def noted(self: LocalCopies, path: Path) -> Path:
        read.append(of(self, path))
        return read[-1]

    monkeypatch.setattr(LocalCopies, "of", noted)
    copied = train(CONFIG, tmp_path / "copied", local_disk=disk)
    assert read
    assert {path.parent for path in read} == {copies_folder(disk, tmp_path / ".copied.scratch")}
    for name in ("metrics.csv", "evaluations.csv", "checkpoint/policy.safetensors"):
        assert (copied / name).read_bytes() == (plain / name).read_bytes()
    assert list(disk.iterdir()) == []


def test_a_copy_is_made_once_and_dropped(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path / "disk")
    one = shard(tmp_path / "run", 1)
    assert copies.of(one) == tmp_path / "disk" / one.name
    one.write_text("another")
    assert copies.of(one).read_text() == "x"
    copies.drop(one)
    assert copies.of(one).read_text() == "another"
    copies.close()
    assert not (tmp_path / "disk").exists()
    assert one.exists()


def test_copies_that_a_kill_left_are_not_believed(tmp_path: Path) -> None:
    one = shard(tmp_path / "run", 1, "old")
    LocalCopies(tmp_path / "disk").of(one)
    one.write_text("new")
    assert LocalCopies(tmp_path / "disk").of(one).read_text() == "new"


def test_a_full_disk_is_said_once_and_the_rest_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    copies = LocalCopies(tmp_path / "disk")
    one, two = (shard(tmp_path / "run", number) for number in (1, 2))
    copies.of(one)
    monkeypatch.setattr("shutil.copyfile", full)
    assert [copies.of(two), copies.of(two)] == [two, two]
    assert capsys.readouterr().err.count("No space left") == 1
    assert copies.of(one).parent == tmp_path / "disk"
    monkeypatch.undo()
    copies.drop(one)  # which makes room
    assert copies.of(two).parent == tmp_path / "disk"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "tokens-00001.npy").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are not part of a run"):
        LocalCopies(tmp_path / "disk")
    assert not (tmp_path / "disk" / SCRATCH).exists()
