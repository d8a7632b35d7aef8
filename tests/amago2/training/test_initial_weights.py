"""Starting from the weights of a run, of a checkpoint, and of the official code."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from amago2 import cli
from amago2.config.documents import dump_yaml
from amago2.config.schema import AmagoConfig
from amago2.errors import ConfigError, RunError
from amago2.training import checkpoint as ckpt
from amago2.training.amago_trainer import AmagoTrainer, train
from tests.amago2.toy import SMALL, small
from tests.amago2.training.test_data import final_return
from tests.amago2.training.test_train import content, interrupted_at


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned Toy: its return is above 3.3, of 5 at most."""
    learner = {"updates_per_epoch": 40, "learning_rate": 5e-3}
    config = small(learner=learner, collector={"epochs": 6}, evaluation={"every": 6})
    return train(config, tmp_path_factory.mktemp("finished") / "run")


def tuned(path: Path | str, **over: object) -> AmagoConfig:
    """One epoch of another configuration: other tasks, learning rate, actor's loss."""
    sections = {
        "initial_weights": str(path),
        "env": {"kwargs": {"length": 4}},
        "learner": {"learning_rate": 1e-4, "updates_per_epoch": 2},
        "collector": {"epochs": 1},
        "evaluation": {"every": 1, "final_rollouts": 20},
    }
    return small(**{**sections, **over})


def test_a_tuned_policy_begins_where_the_other_ended(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tuned(finished)
    run = train(config, tmp_path / "tuned")
    fresh = train(tuned(finished, initial_weights=None), tmp_path / "fresh")
    assert final_return(run) > final_return(fresh) + 0.6
    said = capsys.readouterr().out
    assert f"starting from the weights of {finished}; all that differs" in said
    assert "  learner.learning_rate is 0.005 there and 0.0001 here" in said
    assert "  env.kwargs.length is left out there and 4 here" in said
    record = json.loads((run / "record.json").read_text())
    known = json.loads((finished / "record.json").read_text())
    assert record["initial_weights"] == {
        "path": str(finished),
        "sha256": known["checkpoint_sha256"]["manifest.json"],
        "hash": known["hash"],
    }
    assert "initial_weights" not in json.loads((fresh / "record.json").read_text())
    assert record["hash"] == config.hash != small().hash


def test_all_is_taken_but_the_optimiser_and_targets_begin_as_copies(
    finished: Path, tmp_path: Path
) -> None:
    stored = ckpt.read(finished / "checkpoint")
    with closing(AmagoTrainer(tuned(finished), tmp_path)) as trainer:
        own, targets = ckpt.split_state(trainer.agent)
    assert own.keys() == stored.policy.keys()
    assert all(torch.equal(value, stored.policy[name]) for name, value in own.items())
    for name, value in targets.items():
        assert torch.equal(value, own[name.removeprefix("target_")])
    assert not trainer.learner.state_dict()


def test_a_checkpoint_alone_will_do_and_the_actors_loss_may_be_another(
    finished: Path, tmp_path: Path
) -> None:
    config = tuned(finished / "checkpoint", agent={"actor": "policy_gradient"})
    assert train(config, tmp_path / "run").is_dir()


def test_an_interrupted_run_does_not_start_from_them_again(finished: Path, tmp_path: Path) -> None:
    config = tuned(finished, collector={"epochs": 2})
    whole = train(config, tmp_path / "whole")
    interrupted_at(config, tmp_path / "resumed", epoch=1)
    assert content(train(config, tmp_path / "resumed")) == content(whole)
    longer = tuned(finished, collector={"epochs": 3})
    more = train(longer, tmp_path / "more", continue_from=whole)
    before, after = (
        json.loads((run / "record.json").read_text())["initial_weights"] for run in (whole, more)
    )
    assert before == after


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"env": {"kwargs": {"continuous": True}}}, r"was made for actions Discrete\(3\), but"),
        (
            {"agent": {"bins": 8}},
            r"its networks are others: agent\.bins is 16 there and 8 here; .* same kinds and sizes "
            r"\(.*critic\.net\.weights\.2 does not fit",
        ),
        (
            {"trajectory_encoder": {"kind": "gru", "context_length": 5, "width": 16}},
            r"trajectory_encoder\.kind is 'transformer' there and 'gru' here",
        ),
        ({"agent": {"critic": "popart"}}, r"agent\.critic is 'two_hot' there and 'popart' here"),
    ],
)
def test_other_spaces_and_networks_are_refused(
    finished: Path, tmp_path: Path, over: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        train(tuned(finished, **over), tmp_path / "refused")


def test_what_is_not_there_or_damaged_is_named(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: no run, checkpoint or file of weights here"):
        train(tuned(tmp_path / "none"), tmp_path / "run")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (finished / "checkpoint").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "policy.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match=r"copy: policy\.safetensors is damaged"):
        train(tuned(copy), tmp_path / "run")


def test_the_command_line_says_it_in_a_word(finished: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(dump_yaml(SMALL))
    arguments = ["train", str(config), "--out", str(tmp_path / "run"), "--weights", str(finished)]
    arguments += ["--set", "collector.epochs=1", "--set", "learner.learning_rate=1e-4"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "learner.learning_rate is 0.005 there and 0.0001 here" in result.output
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["initial_weights"]["path"] == str(finished)
