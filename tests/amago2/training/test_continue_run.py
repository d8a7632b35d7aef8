"""Continuing a finished run."""

import json
import shutil
from pathlib import Path

import pytest

from amago2.errors import ConfigError, RunError
from amago2.training.amago_trainer import train
from amago2.training.checkpoint import CheckpointError, verify
from tests.amago2.toy import small

COMPARED = ("checkpoint/policy.safetensors", "checkpoint/trainer.safetensors", "metrics.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "copy")


def test_a_continued_run_ends_in_the_bits_of_a_run_that_never_stopped(
    finished: Path, tmp_path: Path
) -> None:
    longer = small(collector={"epochs": 9})
    whole = train(longer, tmp_path / "whole")
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    continued = train(longer, tmp_path / "continued", continue_from=finished)
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    replay = sorted(path.name for path in (whole / "replay").iterdir())
    assert len(replay) > 3
    assert replay == sorted(path.name for path in (continued / "replay").iterdir())
    for name in (*COMPARED, *(f"replay/{name}" for name in replay)):
        assert (continued / name).read_bytes() == (whole / name).read_bytes(), name
    record = json.loads((continued / "record.json").read_text())
    assert record["hash"] == longer.hash
    assert record["continued_from"]["hash"] == small().hash
    assert record["continued_from"]["epoch"] == 6
    assert json.loads((whole / "record.json").read_text())["continued_from"] is None


def test_full_shards_are_published_again_as_the_same_bytes(tmp_path: Path) -> None:
    """So that a version of the longer run adds its new shards to DVC, and no others."""
    roomy = {"replay": {"capacity": 10**6, "shard_size": 40}}
    first = train(small(**roomy), tmp_path / "first")
    longer = small(**roomy, collector={"epochs": 9})
    second = train(longer, tmp_path / "second", continue_from=first)
    old, new = ({p.name: p.read_bytes() for p in (r / "replay").iterdir()} for r in (first, second))
    last = json.loads(old["replay.json"])["shard"]
    full = {name for name in old if name[-12:-8] != "json" and f"{last:05}" not in name} - {
        "replay.json"
    }
    assert len(full) >= 6
    assert all(new[name] == old[name] for name in full)
    assert len(new) > len(old)


def test_missing_and_damaged_files_are_named(copy: Path, tmp_path: Path) -> None:
    longer = small(collector={"epochs": 9})
    shard = sorted((copy / "replay").glob("*.zst"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RunError, match=rf"replay: {shard.name} is damaged"):
        train(longer, tmp_path / "run", continue_from=copy)
    shard.unlink()
    with pytest.raises(RunError, match=rf"replay: {shard.name} is missing"):
        train(longer, tmp_path / "run", continue_from=copy)
    shutil.rmtree(copy / "replay")
    with pytest.raises(RunError, match=r"its replay is missing$"):
        train(longer, tmp_path / "run", continue_from=copy)
    (copy / "replay.dvc").touch()
    with pytest.raises(RunError, match=r"its replay is missing; `make pull .* REPLAY=1` fetches"):
        train(longer, tmp_path / "run", continue_from=copy)
    assert not list(tmp_path.glob(".run*"))


def test_only_its_length_may_differ(copy: Path, tmp_path: Path) -> None:
    other = small(collector={"epochs": 9}, learner={"batch_size": 9})
    with pytest.raises(
        ConfigError, match=r"learner\.batch_size is 8 there and 9 here; .*collector\.epochs"
    ):
        train(other, tmp_path / "run", continue_from=copy)
    with pytest.raises(ConfigError, match=r"already has 6 epochs; set collector\.epochs to more"):
        train(small(), tmp_path / "run", continue_from=copy)
    with pytest.raises(ConfigError, match="no finished run here"):
        train(other, tmp_path / "run", continue_from=tmp_path)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / "thesis").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds files that are not part of a run, such as thesis"):
        train(small(), tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        train(small(), tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "manifest.json is damaged"),
        ("[]", "manifest.json is damaged"),
        ("{}", "it does not list config.yaml"),
        (None, "manifest.json is missing, so the checkpoint is not whole"),
    ],
)
def test_a_damaged_manifest_is_named(copy: Path, content: str | None, sentence: str) -> None:
    manifest = copy / "checkpoint" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"', "'", 1))
    with pytest.raises(CheckpointError, match="its SHA-256 is not the recorded one"):
        verify(copy / "checkpoint")
    (copy / "record.json").unlink()  # a checkpoint alone
    if content is None:
        manifest.unlink()
    else:
        manifest.write_text(content)
    with pytest.raises(CheckpointError, match=sentence):
        verify(copy / "checkpoint")
