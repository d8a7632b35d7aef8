"""Resuming runs whose environments do not repeat: nothing is spliced, and the run is marked."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from amago2.config.schema import RunConfig
from amago2.training.amago_trainer import AmagoTrainer, train
from amago2.training.run import run_trainer
from amago2.training.trainer import Trainer
from tests.amago2.rollout.unrepeatable import Failing
from tests.amago2.toy import small
from tests.amago2.training.test_train import interrupted_at
from tests.workflow.baselines.test_baselines import ppo_config
from workflow.baselines.ppo_gru import PpoTrainer

MODULE = "tests.amago2.rollout.unrepeatable"
ENVIRONMENTS = (
    "Unseeded",
    "Curriculum",
    "UnseededReward",
    "UnseededEnd",
    "UnseededTask",
    "Counting",
)
TINY: dict[str, Any] = {
    "collector": {"steps_per_epoch": 7, "epochs": 6},
    "learner": {"updates_per_epoch": 1},
    "evaluation": {"every": 100, "rollouts": 1, "final_rollouts": 1},
    "checkpoint": {"every": 1},
}


class Stop(Exception):
    """Stands for a kill just after a checkpoint."""


def stopped_at_every_checkpoint(
    kind: type[Trainer], config: RunConfig, out: Path
) -> dict[str, Any]:
    """Train by a process for each epoch; returns the record."""
    full = kind.save_checkpoint

    def stopping(self: Trainer) -> None:
        full(self)
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "save_checkpoint", stopping)
        while not (out / "record.json").exists():
            with contextlib.suppress(Stop):
                run_trainer(kind, config, out)
    record: dict[str, Any] = json.loads((out / "record.json").read_text())
    return record


def trajectories(run: Path) -> list[np.ndarray[Any, Any]]:
    """Tokens of each trajectory of a run's replay."""
    found = []
    for path in sorted((run / "replay").glob("tokens-*.npy.zst")):
        with path.open("rb") as file:
            content = zstandard.ZstdDecompressor().stream_reader(file).read()
        tokens = np.load(io.BytesIO(content))
        rows = np.load(path.with_name(path.name.replace("tokens", "trajectories")[:-4]))
        found += [tokens[row["start"] : row["start"] + row["length"]] for row in rows]
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_does_not_repeat_is_dropped_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config = small(**TINY, env={"entry_point": f"{MODULE}:{name}"})
    record = stopped_at_every_checkpoint(AmagoTrainer, config, tmp_path / "run")
    assert record["resumptions"] == 5
    assert record["resumed"] == "not bit-exact"
    assert f"{name} does not repeat itself from its seed and actions" in capsys.readouterr().err
    stored = trajectories(tmp_path / "run")
    assert len(stored) > 3
    for tokens in stored:
        assert tokens["time"].tolist() == list(range(len(tokens)))
        assert not tokens["terminated"][:-1].any()
    if name == "Counting":  # replaying went on counting, so a splice would show as a jump
        for tokens in stored:
            assert (np.diff(tokens["observation.o"][:, 0]) <= 3 + 1).all()


def test_an_environment_that_repeats_is_resumed_to_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(small(**TINY), tmp_path / "whole")
    assert json.loads((whole / "record.json").read_text())["resumed"] == "never"
    record = stopped_at_every_checkpoint(AmagoTrainer, small(**TINY), tmp_path / "run")
    assert (record["resumed"], record["dropped_rollouts"]) == ("bit-exact", 0)
    assert capsys.readouterr().err == ""
    name = "checkpoint/trainer.safetensors"
    assert (whole / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    "over",
    [
        {"collector": {"asynchronous": True}},
        {"env": {"processes": 1}},
        {"replay": {"chunk_length": 3, "capacity": 100}},
    ],
    ids=["asynchronous", "processes", "chunks"],
)
def test_it_is_noticed_wherever_environments_are_stepped(
    tmp_path: Path, over: dict[str, Any]
) -> None:
    env = {"entry_point": f"{MODULE}:Counting"} | over.get("env", {})
    collector = {**TINY["collector"], "epochs": 2} | over.get("collector", {})
    config = small(**TINY | over | {"env": env, "collector": collector})
    record = stopped_at_every_checkpoint(AmagoTrainer, config, tmp_path / "run")
    assert record["resumed"] == "not bit-exact"
    assert record["dropped_rollouts"] > 0


@pytest.mark.parametrize("name", ["Toy", "Unseeded", "Curriculum", "UnseededReward"])
def test_ppo_notices_it_too(tmp_path: Path, name: str) -> None:
    module = "tests.amago2.toy" if name == "Toy" else MODULE
    config = ppo_config(env={"entry_point": f"{module}:{name}"})
    record = stopped_at_every_checkpoint(PpoTrainer, config, tmp_path / "run")
    assert record["resumed"] == ("bit-exact" if name == "Toy" else "not bit-exact")


def test_a_rollout_that_has_just_begun_shows_nothing_so_a_finished_one_is_replayed(
    tmp_path: Path,
) -> None:
    """Every epoch ends where all rollouts do."""
    collector = {"steps_per_epoch": 5, "epochs": 3}
    config = small(
        **TINY | {"collector": collector, "env": {"entry_point": f"{MODULE}:UnseededReward"}}
    )
    record = stopped_at_every_checkpoint(AmagoTrainer, config, tmp_path / "run")
    assert (record["resumed"], record["dropped_rollouts"]) == ("not bit-exact", 0)


def test_a_continued_run_keeps_the_mark(tmp_path: Path) -> None:
    config = small(**TINY, env={"entry_point": f"{MODULE}:Unseeded"})
    first = tmp_path / "first"
    dropped = stopped_at_every_checkpoint(AmagoTrainer, config, first)["dropped_rollouts"]
    longer = small(
        **TINY | {"collector": {"steps_per_epoch": 7, "epochs": 7}},
        env={"entry_point": f"{MODULE}:Unseeded"},
    )
    second = train(longer, tmp_path / "second", continue_from=first)
    record = json.loads((second / "record.json").read_text())
    assert record["resumed"] == "not bit-exact"
    assert record["dropped_rollouts"] >= dropped


def test_an_environment_that_fails_when_replayed_does_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(**TINY, env={"entry_point": f"{MODULE}:Failing"})
    interrupted_at(config, tmp_path / "run", 4)
    monkeypatch.setattr(Failing, "failures", 2)
    record = json.loads((train(config, tmp_path / "run") / "record.json").read_text())
    assert (record["resumed"], record["dropped_rollouts"]) == ("not bit-exact", 1)
    said = capsys.readouterr().err
    assert said.count("when a rollout was replayed: ") == 2
    assert "ValueError: this move is not possible" in said
