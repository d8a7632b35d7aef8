"""What a run claims has reached the disk before; what is damaged is never gone on with."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amago2.errors import RunError
from amago2.training import checkpoint as ckpt
from amago2.training.amago_trainer import train
from amago2.training.logs import CsvLog
from amago2.training.state import CheckpointError
from tests.amago2.toy import small
from tests.amago2.training.test_train import content, interrupted_at

Change = Callable[[Path], object]


class Disk:
    """Which files and folders have been synced since they last changed."""

    def __init__(self) -> None:
        self.synced: set[tuple[int, int, int]] = set()
        self.fsync = os.fsync

    def note(self, descriptor: int) -> None:
        self.fsync(descriptor)
        self.synced.add(self._version(os.fstat(descriptor)))

    @staticmethod
    def _version(status: os.stat_result) -> tuple[int, int, int]:
        return status.st_ino, status.st_size, status.st_mtime_ns

    def holds(self, path: Path) -> bool:
        return self._version(path.stat()) in self.synced


def test_what_is_claimed_has_reached_the_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each rename that makes a claim: a checkpoint's, or the record's."""
    disk, claims = Disk(), []
    full = ckpt.move_into_place
    out, scratch = tmp_path / "deep" / "run", tmp_path / "deep" / ".run.scratch"
    volatile = {"lock", "progress.json"}  # of which nothing is claimed

    def checked(path: Path, final: Path) -> None:
        if final.parent.name == "checkpoints":
            claims.append(final.name)
            claimed = [*path.rglob("*"), *(scratch / "replay").iterdir(), *scratch.glob("*.*")]
            claimed += [scratch / "config.yaml", scratch / "replay", scratch.parent]
        elif final.name == "record.json":
            claims.append(final.name)
            claimed = [out.parent, *(p for p in out.rglob("*") if ".publish" not in p.parts)]
            claimed.append(path)
        else:
            claimed = []
        lacking = [p for p in claimed if p.name not in volatile and not disk.holds(p)]
        assert not lacking
        full(path, final)
        assert disk.holds(final.parent)

    monkeypatch.setattr(os, "fsync", disk.note)
    monkeypatch.setattr(ckpt, "move_into_place", checked)
    train(small(checkpoint={"every": 2, "keep": 1}), out)
    assert claims == ["epoch-00000002", "epoch-00000004", "record.json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scratch folder of a run that has checkpoints of epochs 4 and 5."""
    folder = tmp_path_factory.mktemp("unfinished")
    interrupted_at(small(), folder / "run", 6)
    return folder / ".run.scratch"


def flip(name: str, place: int = -1) -> Change:
    def change(scratch: Path) -> None:
        path = sorted(scratch.glob(name))[0]
        damaged = bytearray(path.read_bytes())
        damaged[place] ^= 1
        path.write_bytes(damaged)

    return change


def cut(name: str, lines: int) -> Change:
    def change(scratch: Path) -> None:
        rows = (scratch / name).read_bytes().splitlines(keepends=True)
        (scratch / name).write_bytes(b"".join(rows[:lines]))

    return change


def zeros(scratch: Path) -> None:
    path = scratch / "metrics.csv"
    path.write_bytes(path.read_bytes()[:200] + bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip("replay/tokens-*.npy"), r"tokens-\d+\.npy is damaged"),
        (flip("replay/tokens-*.npy", 300), r"tokens-\d+\.npy is damaged"),
        (flip("replay/trajectories-*.npy"), r"trajectories-\d+\.npy is damaged"),
        (lambda s: sorted(s.glob("replay/tokens-*"))[0].unlink(), r"tokens-\d+\.npy is missing"),
        (flip("evaluations.csv", 100), r"evaluations\.csv: is damaged"),
        (lambda s: (s / "compute.csv").unlink(), r"compute\.csv: is missing"),
        (zeros, r"metrics\.csv: is damaged"),
        (cut("evaluations.csv", 1), r"evaluations\.csv: is damaged \(it is shorter"),
    ],
    ids=["shard", "header", "rows", "no_shard", "csv", "no_csv", "zeros", "empty_csv"],
)
def test_damage_that_every_checkpoint_depends_on_is_refused(
    unfinished: Path, tmp_path: Path, change: Change, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = shutil.copytree(unfinished, tmp_path / ".run.scratch")
    change(scratch)
    before = {path: path.read_bytes() for path in scratch.rglob("*.*") if path.suffix != ".json"}
    with pytest.raises(CheckpointError, match="no checkpoint of this run can be used"):
        train(small(), tmp_path / "run")
    captured = capsys.readouterr()
    assert len(re.findall(said, captured.err)) == 2
    assert all(path.read_bytes() == bytes_ for path, bytes_ in before.items() if path.exists())


def test_damage_that_an_older_checkpoint_does_not_depend_on_costs_an_epoch(
    finished: Path, unfinished: Path, tmp_path: Path
) -> None:
    scratch = shutil.copytree(unfinished, tmp_path / ".run.scratch")
    logs = ckpt.read(scratch / "checkpoints" / "epoch-00000004").state["logs"]
    for name in ("metrics", "compute"):  # rows after the older checkpoint, partly zeros
        path = scratch / f"{name}.csv"
        path.write_bytes(path.read_bytes()[: logs[name]["length"] + 9] + bytes(5000))
    assert content(train(small(), tmp_path / "run")) == content(finished)
    for path in (tmp_path / "run").glob("*.csv"):
        assert b"\0" not in path.read_bytes()


def test_what_another_program_writes_into_a_log_is_noticed(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "log.csv", ("a", "b"))
    log.append([(1, 2)])
    saved: dict[str, Any] = log.save()
    assert saved["length"] == len(b"a,b\n1,2\n")
    (tmp_path / "log.csv").write_text("a,b\n")
    log.append([(3, 4)])
    with pytest.raises(RunError, match=r"log\.csv: was changed by another program"):
        log.save()
