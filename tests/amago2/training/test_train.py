import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import amago2
from amago2.config.schema import AmagoConfig
from amago2.errors import ConfigError, RunError
from amago2.folders import SCRATCH, claim
from amago2.training.amago_trainer import train
from amago2.training.checkpoint import CheckpointError, read, write
from amago2.training.learner import Learner, NonFiniteError
from amago2.training.trainer import Trainer
from tests.amago2.toy import Toy, small

DETERMINISTIC = (
    "metrics.csv",
    "evaluations.csv",
    "config.yaml",
    "checkpoint/policy.safetensors",
    "checkpoint/trainer.safetensors",
    "checkpoint/state.json",
    "checkpoint/manifest.json",
)


def content(run: Path) -> dict[str, bytes]:
    """Bytes of all that a run's configuration decides."""
    replay = [f"replay/{path.name}" for path in (run / "replay").iterdir()]
    return {name: (run / name).read_bytes() for name in (*DETERMINISTIC, *replay)}


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def interrupted_at(config: AmagoConfig, out: Path, epoch: int) -> None:
    """Stop a run as if it were killed after an epoch."""
    scratch = out.with_name(f".{out.name}.scratch")
    full = Trainer._log_metrics

    def stop(self: Trainer, *args: Any) -> None:
        full(self, *args)
        if self.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_log_metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, out)
    assert scratch.exists()
    assert not (out / "record.json").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(), tmp_path_factory.mktemp("finished") / "run")


def test_a_finished_run_has_all_its_files(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    assert record["hash"] == small().hash
    assert record["env_steps"] == 6 * 12 * 3
    assert record["updates"] == 6 * 4
    assert record["resumptions"] == 0
    assert set(record["checkpoint_sha256"]) == {p.name for p in (finished / "checkpoint").iterdir()}
    names = {row["name"] for row in table(finished / "metrics.csv")}
    assert {"loss_actor", "loss_critic", "filter_share", "train_return", "replay_share"} <= names
    rows = table(finished / "evaluations.csv")
    last = [row for row in rows if row["step"] == str(6 * 12 * 3)]
    assert len(last) == 2 * 3 * 3  # tasks x rollouts x (return, attempt_return, success)
    assert {row["task"] for row in last} == {"left", "right"}
    assert list((finished / "tensorboard").iterdir())
    assert not list(finished.parent.glob(".*"))  # no scratch is left


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    finished: Path, tmp_path: Path
) -> None:
    again = train(small(), tmp_path / "again")
    assert content(again) == content(finished)
    other = train(small(seed=1), tmp_path / "other")
    assert (
        content(other)["checkpoint/policy.safetensors"]
        != (content(finished)["checkpoint/policy.safetensors"])
    )


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_resuming_gives_the_same_bits(finished: Path, tmp_path: Path, epoch: int) -> None:
    interrupted_at(small(), tmp_path / "run", epoch)
    assert content(train(small(), tmp_path / "run")) == content(finished)


def test_checkpoints_change_no_result(finished: Path, tmp_path: Path) -> None:
    config = small(checkpoint={"every": 4, "keep": 1})
    interrupted_at(config, tmp_path / "run", 5)
    resumed = content(train(config, tmp_path / "run"))
    expected = content(finished)
    for name in ("metrics.csv", "evaluations.csv", "checkpoint/policy.safetensors"):
        assert resumed[name] == expected[name]


@pytest.mark.parametrize(
    "over",
    [
        {"env": {"kwargs": {"continuous": True}}, "agent": {"actor": "policy_gradient"}},
        {
            "env": {"entry_point": "tests.amago2.toy:Endless"},
            "replay": {"chunk_length": 4, "capacity": 60},
        },
        {"agent": {"actor": "policy_gradient", "critic": "popart", "n_step": 3}},
        {"trajectory_encoder": {"kind": "gru", "context_length": 5, "width": 16}},
        {"trajectory_encoder": {"kind": "feed_forward", "context_length": 5, "width": 16}},
    ],
    ids=["continuous", "chunks", "popart", "gru", "no_memory"],
)
def test_other_settings_resume_too(tmp_path: Path, over: dict[str, Any]) -> None:
    config = small(**over)
    whole = content(train(config, tmp_path / "whole"))
    interrupted_at(config, tmp_path / "run", 4)
    assert content(train(config, tmp_path / "run")) == whole


def test_killed_ten_times_at_random_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    config = small(collector={"epochs": 30})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    whole = content(train(config, tmp_path / "whole"))
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "config.yaml", tmp_path / "killed", "0"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5  # else it finished before it could be killed
    assert content(tmp_path / "killed") == whole


def test_a_damaged_checkpoint_is_passed_over(finished: Path, tmp_path: Path) -> None:
    interrupted_at(small(), tmp_path / "run", 4)
    newest = sorted((tmp_path / ".run.scratch/checkpoints").iterdir())[-1] / "policy.safetensors"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    assert content(train(small(), tmp_path / "run")) == content(finished)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    claim(scratch, SCRATCH)
    with (scratch / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            train(small(), tmp_path / "run", scratch)


def test_a_finished_run_is_left_alone_and_another_refused(finished: Path) -> None:
    before = content(finished)
    train(small(), finished)
    assert content(finished) == before
    with pytest.raises(ConfigError, match="another configuration"):
        train(small(seed=5), finished)


def test_a_number_that_is_not_finite_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Learner._update

    def poisoned(self: Learner, batch: Any) -> Any:
        if self.updates == 6:
            self.parameters[0].data.fill_(float("nan"))
        return full(self, batch)

    monkeypatch.setattr(Learner, "_update", poisoned)
    with pytest.raises(
        NonFiniteError, match=r"not finite by update .* checkpoint is .*epoch-0000000"
    ):
        train(small(), tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()


def test_too_little_disk_or_memory_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(RunError, match="GB are free; lower replay"):
            train(small(), tmp_path / "run")
    with pytest.raises(RunError, match=r"lower learner\.batch_size"):
        train(small(learner={"batch_size": 10**9}), tmp_path / "run")


def test_cuda_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="--set device=cpu"):
        train(small(device="cuda"), tmp_path / "run")


def test_a_damaged_checkpoint_is_named(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    shutil.copytree(finished / "checkpoint", copy)
    original = (copy / "policy.safetensors").read_bytes()
    for position in (0, 9, len(original) // 2, len(original) - 1):
        flipped = bytearray(original)
        flipped[position] ^= 4
        (copy / "policy.safetensors").write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"policy\.safetensors is damaged"):
            amago2.load(copy)
    (copy / "policy.safetensors").write_bytes(original[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        amago2.load(copy)
    (copy / "policy.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        amago2.load(copy)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        amago2.load(tmp_path / "nowhere")


def test_another_schema_is_refused(finished: Path, tmp_path: Path) -> None:
    checkpoint = read(finished / "checkpoint")
    write(tmp_path / "copy", checkpoint)
    for name in DETERMINISTIC[3:5]:
        assert (finished / name).read_bytes() == (tmp_path / "copy" / Path(name).name).read_bytes()
    checkpoint.state["schema"] = 99
    write(tmp_path / "newer", checkpoint)
    with pytest.raises(
        CheckpointError, match="has checkpoint schema 99, but this version reads schema 3 only"
    ):
        read(tmp_path / "newer")


def test_a_loaded_policy_acts(finished: Path) -> None:
    player, env = amago2.load(finished), Toy()
    acted = []
    for _ in range(2):
        player.reset()
        observation, _ = env.reset(seed=3)
        reward, over = 0.0, False
        while not over:
            acted.append(player.act(observation, reward))
            observation, reward, over, _, _ = env.step(acted[-1])
    assert len(acted) == 10
    assert set(acted) <= {0, 1, 2}
    again = amago2.load(finished)
    assert again.act(Toy().reset(seed=3)[0]) == acted[0]


def test_a_reward_that_is_not_finite_is_the_environments(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"toy:Toy, actor 0, step \d \(task (left|right), .*: the reward is nan"
    ):
        train(small(env={"kwargs": {"nan_reward_after": 40}}), tmp_path / "run")
