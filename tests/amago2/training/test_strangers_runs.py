"""Finished runs that are damaged, or that a stranger has made: one sentence, and nothing done."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from safetensors.torch import load_file, save_file

import amago2
from amago2 import run_record
from amago2.cli import main
from amago2.errors import ConfigError, RunError
from amago2.replay.shards import TRAJECTORY, header
from amago2.training.amago_trainer import train
from tests.amago2.toy import small
from tests.records import reseal

LONGER: dict[str, Any] = {"collector": {"epochs": 8}}
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def amago2_cli(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """Exit code of a command; a traceback would pass through."""
    monkeypatch.setattr("sys.argv", ["amago2", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return stop.code
    return 0


# --- damage: the digests no longer fit ------------------------------------------------------------


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: (r / "evaluations.csv").write_text(""), r"evaluations\.csv is damaged"),
        (lambda r: flipped(r / "metrics.csv"), r"metrics\.csv is damaged"),
        (lambda r: flipped(r / "compute.csv"), r"compute\.csv is damaged"),
        (lambda r: (r / "metrics.csv").unlink(), r"metrics\.csv is missing"),
        (lambda r: (r / "probe.csv").write_text("a\n"), r"probe\.csv is not part of the run"),
        (lambda r: flipped(r / "checkpoint" / "state.json"), r"state\.json is damaged"),
        (lambda r: (r / "checkpoint" / "more").touch(), r"checkpoint: more is not part of"),
        (lambda r: (r / "replay" / "more.npy").touch(), r"replay: more\.npy is not part of"),
        (lambda r: flipped(r / "replay" / "replay.json"), r"replay\.json is damaged"),
        (lambda r: shutil.rmtree(r / "checkpoint"), r"its checkpoint is missing$"),
        (lambda r: os.mkfifo(r / "probe.csv"), r"probe\.csv is not part of the run"),
    ],
)
def test_info_names_what_is_damaged(
    run: Path,
    change: Change,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert amago2_cli(monkeypatch, "info", run) == 0
    assert capsys.readouterr().out.count("intact (every SHA-256 is as recorded)") == 3
    change(run)
    assert amago2_cli(monkeypatch, "info", run) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line), line


def test_what_dvc_keeps_may_be_missing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint", "replay"):
        shutil.rmtree(run / name)
        (run / f"{name}.dvc").touch()
    assert amago2_cli(monkeypatch, "info", run) == 0
    assert "checkpoint: is not here; `make pull FOLDER=" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "{",
        '{"checkpoint_sha256": 5}',
        "[" * 100_000,
        "\xff",
        "NaN",
        "1e999",
    ],
)
def test_a_record_that_is_none_is_one_sentence(
    run: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.parent / "config.yaml"
    config.write_text(small().to_yaml())
    (run / "record.json").write_bytes(text.encode("latin-1"))
    options = ("--allow-env", "tests.amago2.toy", "--rollouts", 1)
    for arguments in (
        ("info", run),
        ("train", config, "--out", run),
        ("evaluate", run, *options),
        ("train", config, "--from", run, "--out", run.parent / "more"),
    ):
        assert amago2_cli(monkeypatch, *arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "record.json: is damaged" in line
    assert not (run.parent / "more").exists()


@pytest.mark.parametrize("key", ["env_steps", "git_commit", "files_sha256", "record_sha256"])
def test_no_key_of_a_record_can_be_changed_or_left_out(run: Path, key: str) -> None:
    record = json.loads((run / "record.json").read_text())
    for changed in (record | {key: "0" * 64}, {k: v for k, v in record.items() if k != key}):
        (run / "record.json").write_text(json.dumps(changed))
        with pytest.raises(RunError, match=r"record\.json: is damaged"):
            run_record.check(run)


# --- strangers: all digests fit -------------------------------------------------------------------


def state(**changed: Any) -> Change:
    def change(run: Path) -> None:
        path = run / "checkpoint" / "state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def tensors(file: str, name: str, value: torch.Tensor | None) -> Change:
    def change(run: Path) -> None:
        path = run / "checkpoint" / f"{file}.safetensors"
        content = load_file(path)
        name_ = next(key for key in content if name in key)
        if value is None:
            del content[name_]
        else:
            content[name_] = value
        save_file(content, path)

    return change


def memory_steps(run: Path) -> None:
    path = run / "checkpoint" / "trainer.safetensors"
    content = load_file(path)
    content["memory.steps"] += 2**40
    save_file(content, path)


def header_of_claims(run: Path) -> None:
    (run / "checkpoint" / "policy.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")


def bomb(run: Path) -> None:
    zeros = zstandard.ZstdCompressor(19).compress(bytes(64 * 2**20))
    sorted((run / "replay").glob("*.zst"))[0].write_bytes(zeros)


def rows(**changed: int) -> Change:
    def change(run: Path) -> None:
        path = sorted((run / "replay").glob("trajectories-*"))[0]
        found = np.load(path).copy()
        for key, value in changed.items():
            found[key][-1] = value
        path.write_bytes(header(TRAJECTORY, len(found)) + found.tobytes())

    return change


def replay_state(**changed: Any) -> Change:
    def change(run: Path) -> None:
        path = run / "replay" / "replay.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


SPACES = {"kind": "discrete", "size": 3, "low": None, "high": None}
HUGE = {"observations": {"o": {"shape": [2**40], "dtype": "float32"}}, "actions": SPACES}
OBJECTS = {"observations": {"o": {"shape": [3], "dtype": "O"}}, "actions": SPACES}
OTHER = {"observations": {"o": {"shape": [4], "dtype": "float32"}}, "actions": SPACES}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (state(epoch="../../x"), r"state\.json: epoch: "),
        (state(epoch=-1), r"state\.json: epoch: "),
        (state(epoch=True), r"state\.json: epoch: "),
        (state(epoch=10**30), r"state\.json: epoch: "),
        (state(epoch=7), r"epoch"),
        (state(updates=None), r"state\.json: updates: "),
        (state(schema=[3]), r"has checkpoint schema \[3\]"),
        (state(spaces=HUGE), r"spaces\.observations\.o\.shape"),
        (state(spaces=OBJECTS), r"spaces\.observations\.o\.dtype"),
        (state(spaces=OTHER), r"records|fit|made for"),
        (state(collector={}), r"state\.json: collector: is not what a run"),
        (state(collector=[1, 2]), r"state\.json: collector: is not what a run"),
        (tensors("trainer", "exp_avg", torch.zeros(1)), r"optimiser's state does not fit"),
        (tensors("trainer", "exp_avg_sq", None), r"optimiser's state does not fit"),
        (tensors("trainer", ".step", torch.zeros(3)), r"optimiser's state does not fit"),
        (tensors("trainer", "memory.", torch.zeros(2)), r"memory\..* does not fit"),
        (tensors("trainer", "target_actor.", torch.zeros(2)), r"target_actor\..* does not fit"),
        (tensors("trainer", "history.", torch.zeros(2, 2, 2)), r"history\..* holds no actions"),
        (memory_steps, r"memory in the checkpoint is not that of"),
        (tensors("policy", "popart", torch.zeros(1, dtype=torch.int8)), r"popart.* does not fit"),
        (tensors("policy", "weight", None), r"is missing: it does not fit"),
        (header_of_claims, r"policy\.safetensors: cannot be read: its header claims"),
        (bomb, r"zst: does not hold as many records as its rows say"),
        (rows(length=2**31 - 1), r"GB are free|rows"),
        (rows(start=-7), r"rows that cannot be"),
        (rows(task=99), r"rows that cannot be"),
        (rows(number=10**12), r"rows that cannot be|tells of"),
        (replay_state(shard=10**15), r"replay\.json: "),
        (replay_state(oldest_shard="x"), r"replay\.json: oldest_shard"),
        (replay_state(tasks=["a", "a"]), r"replay\.json: .*names a task twice"),
    ],
)
def test_a_strangers_run_is_not_continued(
    run: Path, tmp_path: Path, change: Change, said: str
) -> None:
    change(run)
    reseal(run)
    with pytest.raises((RunError, ConfigError)) as raised:
        train(small(**LONGER), tmp_path / "more", continue_from=run)
    printed = f"{raised.value}"
    assert "\n" not in printed
    if "no checkpoint of this run can be used" not in printed:
        assert re.search(said, printed), printed
    assert {path.name for path in tmp_path.iterdir()} <= {"run", ".more.scratch"}


@pytest.mark.parametrize(
    "change",
    [
        tensors("policy", "popart", torch.zeros(1, dtype=torch.int8)),
        tensors("policy", "weight", torch.zeros(10**4)),
        tensors("policy", "bias", None),
        header_of_claims,
        state(spaces=OTHER),
        state(spaces=HUGE),
        state(spaces={}),
    ],
)
def test_a_strangers_policy_is_not_loaded(run: Path, change: Change) -> None:
    change(run)
    reseal(run)
    with pytest.raises((RunError, ConfigError)):
        amago2.load(run)
    with pytest.raises((RunError, ConfigError)):
        amago2.load(run / "checkpoint")
