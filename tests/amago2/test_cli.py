import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from amago2 import __version__, run_record
from amago2.cli import main
from amago2.config.schema import TRAINING_VERSION
from amago2.training.amago_trainer import train
from amago2.training.checkpoint import read, write
from tests.amago2.toy import small

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def amago2(*arguments: object) -> Done:
    """What the command `amago2` does, without starting Python for each."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["amago2", *map(str, arguments)])
        patch.setenv("COLUMNS", "120")
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def test_an_environment_in_place_of_a_file_is_sent_to_init(tmp_path: Path) -> None:
    done = amago2("train", "CartPole-v1", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "CartPole-v1: no such configuration file; `amago2 init CartPole-v1`" in done.stderr


def test_the_installed_command(config: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "amago2.cli", "train", config, "--out", tmp_path, "--set", "a=1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("amago2: --set a=1: unknown key a; allowed are")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(small(collector={"epochs": 2}).to_yaml())
    return path


@pytest.fixture(scope="module")
def run(config: Path) -> Path:
    done = amago2("train", config, "--out", config.parent / "run")
    assert done.returncode == 0, done.stderr
    assert "72 environment steps, 8 updates" in done.stdout
    assert done.stdout.endswith("--allow-env tests.amago2.toy\n")  # of the next command
    return config.parent / "run"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "learner.learning_rate=-1"], "learner.learning_rate is -1"),
        (["--set", "learner.lr=1"], "unknown key learner.lr"),
        (["--set", "learner"], "must look like section.key=value"),
        (["--set", "env.entry_point=nowhere:Env"], "cannot import nowhere"),
        (["--set", "env.entry_point=amago2.config.schema:AmagoConfig"], "is not a gymnasium.Env"),
        (["--set", "env.kwargs={wrong: 1}"], "do not fit"),
        (["--set", "env.kwargs.a=2024-01-01"], "2024-01-01 is a date to YAML; put it in quotes"),
        (["--set", "env.kwargs.a=.nan"], "env.kwargs.a is nan: must be a number, or null"),
        (["--set", "a" + ".a" * 2000 + "=1"], "the key has more than 40 parts"),
        (["--set", "seed=[1"], "--set seed=[1: not valid YAML"),
        (["--provenance", __file__], "test_cli.py: is not JSON"),
    ],
)
def test_a_mistake_costs_one_sentence_and_code_2(
    config: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = amago2("train", config, "--out", tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    for name, sentence in (("empty", "is empty"), ("none", "no such file")):
        done = amago2("train", tmp_path / f"{name}.yaml", "--out", tmp_path / "run")
        assert done.returncode == 2
        assert sentence in done.stderr


def test_a_finished_run_says_so(config: Path, run: Path) -> None:
    done = amago2("train", config, "--out", run)
    assert done.returncode == 0
    assert "is finished; nothing to do" in done.stdout


def test_info(run: Path) -> None:
    done = amago2("info", run)
    assert done.returncode == 0, done.stderr
    assert small(collector={"epochs": 2}).hash in done.stdout
    assert "intact" in done.stdout
    done = amago2("info", run.parent / "nowhere")
    assert done.returncode == 2
    assert "no run or checkpoint here" in done.stderr


def test_evaluate_asks_before_it_runs_foreign_code(run: Path, tmp_path: Path) -> None:
    refused = amago2("evaluate", run)
    assert refused.returncode == 2
    assert "--allow-env tests.amago2.toy" in refused.stderr
    out = tmp_path / "rows.csv"
    done = amago2(
        "evaluate",
        run / "checkpoint",
        "--allow-env",
        "tests.amago2.toy",
        "--rollouts",
        3,
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    assert "left" in done.stdout
    assert len(out.read_text().splitlines()) == 1 + 2 * 3 * 3


def test_info_marks_runs_that_are_not_to_be_compared(run: Path, tmp_path: Path) -> None:
    assert "OTHER" not in amago2("info", run).stdout
    copy = shutil.copytree(run, tmp_path / "copy")
    record = json.loads((copy / "record.json").read_text())
    record |= {"git_commit": "c0ffee", "git_dirty": True, "lock_sha256": "10c4"}
    (copy / "record.json").write_text(run_record.seal(record | {"training_version": 7}))
    done = amago2("info", copy)
    assert done.returncode == 0, done.stderr
    assert "c0ffee" in done.stdout
    assert "10c4" in done.stdout
    assert f"7 (OTHER TRAINING CODE: this is version {TRAINING_VERSION}" in done.stdout
    assert "TRAINED WITH UNCOMMITTED CHANGES" in done.stdout
    assert f"{copy / 'replay'}: intact" in done.stdout
    (copy / "replay" / "replay.json").write_text("{}")
    done = amago2("info", copy)
    assert done.returncode == 1
    assert done.stderr == (
        f"amago2: {copy / 'replay'}: replay.json is damaged (its SHA-256 is not the recorded one)\n"
    )


def test_a_run_of_another_training_version_is_used_but_not_trained(
    config: Path, run: Path, tmp_path: Path
) -> None:
    done = amago2("train", config, "--out", tmp_path / "run", "--set", "training_version=7")
    assert done.returncode == 2
    assert f"training_version is 7, and this code is version {TRAINING_VERSION}" in done.stderr
    checkpoint = read(run / "checkpoint")
    checkpoint.config = checkpoint.config.model_copy(update={"training_version": 7})
    write(tmp_path / "checkpoint", checkpoint)
    assert "7 (OTHER TRAINING CODE" in amago2("info", tmp_path / "checkpoint").stdout
    options = ("--allow-env", "tests.amago2.toy", "--rollouts", 1)
    done = amago2("evaluate", tmp_path / "checkpoint", *options)
    assert done.returncode == 0, done.stderr


def test_going_on_and_playing(config: Path, run: Path, tmp_path: Path) -> None:
    done = amago2(
        "train", config, "--out", tmp_path / "run", "--from", run, "--set", "collector.epochs=3"
    )
    assert done.returncode == 0, done.stderr
    assert "continuing from epoch 2 of 3" in done.stdout
    play = ("play", run / "checkpoint", "--video", tmp_path / "x.gif")
    assert "--allow-env tests.amago2.toy" in amago2(*play).stderr
    done = amago2(*play, "--allow-env", "tests.amago2.toy")
    assert done.returncode == 1
    assert done.stderr.startswith("amago2: Toy shows no images")
    assert done.stderr.count("\n") == 1


def test_evaluate_repeats_the_last_evaluation_of_the_run(run: Path, tmp_path: Path) -> None:
    def values(path: Path, step: str) -> list[list[str]]:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        return [row[:4] + row[5:] for row in rows if row[4] == step]

    options = ("--allow-env", "tests.amago2.toy", "--out", tmp_path / "e.csv")
    own = values(run / "evaluations.csv", "72")  # 2 epochs of 12 steps of 3 actors
    assert len(own) == 2 * 3 * 3
    assert amago2("evaluate", run, *options).returncode == 0
    assert values(tmp_path / "e.csv", "0") == own
    assert amago2("evaluate", run, *options, "--seed", "0").returncode == 0
    assert values(tmp_path / "e.csv", "0") != own


def test_a_label_with_markup_is_shown_and_stored_as_it_is(tmp_path: Path) -> None:
    env = {"entry_point": "tests.amago2.toy:Named", "kwargs": {"label": "level[red]1[/foo]"}}
    run = train(small(env=env, collector={"epochs": 1}), tmp_path / "run")
    options = ("--allow-env", "tests.amago2.toy", "--rollouts", 1, "--out", tmp_path / "e.csv")
    done = amago2("evaluate", run, *options)
    assert done.returncode == 0, done.stderr
    assert "level[red]1[/foo]" in done.stdout
    assert "level[red]1[/foo]" in (tmp_path / "e.csv").read_text()
    assert amago2("evaluate", run, *options).returncode == 0  # replaces its own table
    (tmp_path / "e.csv").write_text("my,own\n")
    done = amago2("evaluate", run, *options)
    assert done.returncode == 2
    assert "e.csv: exists and is no table of evaluations" in done.stderr
    assert (tmp_path / "e.csv").read_text() == "my,own\n"
    done = amago2("evaluate", run, *options[:-1], tmp_path)
    assert "is a folder; it must be a regular file" in done.stderr


def test_help_and_version() -> None:
    done = amago2("--help")
    for command in ("train", "evaluate", "play", "info", "check-env"):
        assert command in done.stdout
    assert (
        amago2("--version").stdout == f"amago2 {__version__}, training version {TRAINING_VERSION}\n"
    )


def test_python_api_is_the_same_as_the_command(config: Path, run: Path, tmp_path: Path) -> None:
    other = train(small(collector={"epochs": 2}), tmp_path / "run")
    name = "checkpoint/policy.safetensors"
    assert (other / name).read_bytes() == (run / name).read_bytes()


def test_after_ctrl_c_it_is_said_whether_anything_is_stored(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("amago2.training.amago_trainer.train", interrupted)
    done = amago2("train", config, "--out", tmp_path / "run")
    assert done.returncode == 130
    assert "no checkpoint yet (checkpoint.every is" in done.stderr
    (tmp_path / ".run.scratch" / "checkpoints" / "epoch-1").mkdir(parents=True)
    done = amago2("train", config, "--out", tmp_path / "run")
    assert done.stderr.endswith("again to continue from the last checkpoint\n")


def test_the_policy_of_a_run_that_is_not_finished_is_pointed_at(tmp_path: Path) -> None:
    best = tmp_path / ".run.scratch" / "best"
    best.mkdir(parents=True)
    (best.parent / "config.yaml").touch()
    assert amago2("evaluate", tmp_path / "run").stderr.endswith("train it to its end\n")
    (best / "config.yaml").touch()
    done = amago2("evaluate", tmp_path / "run")
    assert (done.returncode, done.stderr.endswith(f"its end, or name {best}\n")) == (2, True)
