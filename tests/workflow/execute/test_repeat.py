"""A sample of runs is trained again, and what has other bits is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from amago2 import run_record
from amago2.errors import ConfigError
from tests.amago2.toy import small
from tests.records import write_record
from workflow.cli.app import main
from workflow.execute.repeat import differences, repeat, sample


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one finished run, trained as the pipeline trains it."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    config = small()
    run = folder / "runs" / config.benchmark / config.variant / f"seed0-{config.hash}"
    run.parent.mkdir(parents=True)
    settings = folder / "settings.yaml"
    settings.write_text(config.to_yaml())
    command = [sys.executable, "-m", "workflow", "job", "train", str(settings), "--out", str(run)]
    subprocess.run([*command, "--scratch", str(folder / "scratch")], check=True)
    return folder


def test_a_run_that_is_trained_again_has_the_same_bits(trained: Path) -> None:
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    assert repeat(trained, 1.0, said.append) == []
    assert "to train again: 1; they took" in said[0]
    assert said[1].endswith(": the same bits")
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*")}


def test_what_differs_is_named(trained: Path) -> None:
    [run] = sample(trained, 1.0)
    record = run_record.read(run)
    other = json.loads(json.dumps(record))
    other["checkpoint_sha256"]["policy.safetensors"] = "0" * 64
    other["files_sha256"]["compute.csv"] = "0" * 64  # has times
    other["checkpoint_sha256"]["config.yaml"] = "0" * 64  # no outcome
    del other["files_sha256"]["metrics.csv"]
    assert list(differences(run, record, other)) == [
        f"{run}: checkpoint/policy.safetensors differs",
        f"{run}: metrics.csv differs",
    ]
    other |= {"cpu": "another one", "threads": 7}
    assert next(differences(run, record, other)).endswith("differs (another cpu, threads)")
    broken = trained.parent / "broken" / "runs" / "a" / "b" / "seed0-0000aaaa"
    broken.mkdir(parents=True)
    (broken / "config.yaml").write_text("seed: nothing\n")
    write_record(broken)
    [sentence] = repeat(broken.parents[3], 0.5, lambda _: None)
    assert sentence.startswith(f"{broken}: did not train again: ")
    assert f"{broken.name}.yaml" in sentence


def test_the_sample_is_those_with_the_smallest_hashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"runs/{kind}/v/seed{9 - i}-{i:08x}" for i in range(10) for kind in "ba"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / run_record.NAME).write_text("{}")
    chosen = [path.relative_to(tmp_path).as_posix() for path in sample(tmp_path, 0.15)]
    assert chosen == [
        "runs/a/v/seed9-00000000",
        "runs/b/v/seed9-00000000",
        "runs/a/v/seed8-00000001",
    ]
    assert len(sample(tmp_path, 0)) == 1
    assert len(sample(tmp_path, 1)) == 20
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="must be a number from 0 to 1"):
            sample(tmp_path, share)
    with pytest.raises(ConfigError, match="no finished run here; `make reproduce BUDGET=none`"):
        sample(tmp_path / "none", 1)
    assert main(["repeat", "--budget", "nothing"]) == 2
    assert "no finished run here" in capsys.readouterr().err
