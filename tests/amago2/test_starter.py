"""`amago2 init`: a configuration that fits an environment."""

from dataclasses import replace
from pathlib import Path

import pytest

from amago2.config.documents import parse_yaml, read_yaml
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, ImageEncoderConfig, build
from amago2.environment_check import sizes_for
from amago2.errors import ConfigError
from amago2.starter import EVALUATE, Facts, facts, remarks, slowness, starter, write
from amago2.training.amago_trainer import train
from tests.amago2.test_cli import amago2

CARTPOLE = Facts(None, "discrete", 2, 500, 30, True, (0.0, 1.0), True, 1, 1e5)


def written(found: Facts, memory: int | None = None) -> AmagoConfig:
    text = starter("tests.amago2.toy:Toy", found, memory)
    assert max(map(len, text.splitlines())) <= 120
    return build([Layer("starter", parse_yaml(text, "starter"))])


def test_bins_cover_the_returns_within_the_horizon() -> None:
    buttons = replace(CARTPOLE, actions="multibinary")
    agent = written(buttons).agent
    assert (agent.value_limit, agent.symlog, agent.discounts[-1]) == ((0.0, 110.0), False, 0.99)
    sparse = written(replace(buttons, dense=False, rewards=(-1.0, 1.0))).agent
    assert (sparse.value_limit, sparse.symlog) == ((-1100.0, 1100.0), True)
    unseen = written(replace(buttons, rewards=(0.0, 0.0), dense=False)).agent
    assert (unseen.value_limit, unseen.symlog) == (1e5, True)


def test_sizes_follow_spaces_tasks_and_length() -> None:
    several = replace(CARTPOLE, tasks=2)
    assert (written(CARTPOLE).agent.actor, written(CARTPOLE).agent.critic) == (
        "policy_gradient",
        "popart",
    )
    assert (written(several).agent.actor, written(several).agent.critic) == (
        "filtered_imitation",
        "two_hot",
    )
    short = written(replace(CARTPOLE, limit=5))
    assert (short.trajectory_encoder.context_length, short.agent.discounts[-1]) == (5, 0.8)
    assert written(several).agent.expectation == "exact"
    assert written(replace(several, action_size=100)).agent.expectation == "sampled"
    for side, network in ((84, "nature"), (35, "impala")):
        encoder = written(replace(CARTPOLE, picture=side)).timestep_encoder
        assert isinstance(encoder, ImageEncoderConfig)
        assert encoder.architecture == network


def test_it_remembers_if_asked_to_or_where_one_observation_may_not_tell_all() -> None:
    def kind(found: Facts, memory: int | None = None) -> tuple[str, int, int]:
        config = written(found, memory)
        encoder = config.trajectory_encoder
        return encoder.kind, encoder.context_length, config.learner.batch_size

    assert kind(CARTPOLE) == ("feed_forward", 16, 32)
    assert kind(CARTPOLE, 64) == ("transformer", 64, 8)
    assert kind(replace(CARTPOLE, limit=40), 64) == ("transformer", 40, 12)
    for other in (replace(CARTPOLE, tasks=2), replace(CARTPOLE, picture=84)):
        assert kind(other) == ("transformer", 16, 32)
        assert kind(other, 0) == ("feed_forward", 16, 32)


def test_the_horizon_is_that_of_the_limit_not_of_random_actions() -> None:
    found = facts(build([sizes_for("CartPole-v1")]))
    assert found.limit == 500
    assert found.rollout < 100
    assert written(found).agent.discounts == (0.95, 0.99)
    own = facts(build([sizes_for("tests.amago2.toy:Toy")]))
    assert own.limit is None
    vector = {"env": {"id": "CartPole-v1", "vectorization": "vector_entry_point"}}
    together = facts(build([sizes_for("CartPole-v1"), Layer("test", vector)]))
    assert together.limit == 500


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_init_writes_what_trains(environment: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert amago2("init", environment, "--out", path).returncode == 0
    again = amago2("init", environment, "--out", path)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "is there already" in again.stderr
    short = {
        "learner": {"updates_per_epoch": 1},
        "collector": {"epochs": 5},
        "evaluation": {"every": 5, "final_rollouts": 1},
    }
    config = build([Layer(str(path), read_yaml(path)), Layer("short", short)])
    assert (train(config, tmp_path / "run") / "best").is_dir()


def test_it_says_how_long_a_slow_environment_takes() -> None:
    assert slowness(written(CARTPOLE), CARTPOLE.steps_per_s) is None
    told = slowness(written(CARTPOLE), 20.0) or ""
    assert "make some 20 steps a second, so that collecting takes about 68 minutes" in told
    assert "env.processes" in told


def test_it_says_if_no_rollout_ended() -> None:
    endless = replace(CARTPOLE, limit=None, ends=False, rollout=2000)
    assert remarks(written(CARTPOLE), CARTPOLE) is None
    assert remarks(written(endless), replace(endless, ends=True)) is None
    told = remarks(written(endless), endless) or ""
    assert told.startswith("no rollout ended in 2,000 steps")
    assert "env.max_episode_steps" in told


def test_its_commands_allow_what_the_environment_imports(tmp_path: Path) -> None:
    for name, options in (
        ("CartPole-v1", ""),
        ("tests.amago2.toy:Toy", " --allow-env tests.amago2.toy"),
    ):
        write(name, tmp_path / f"{name}.yaml")
        assert EVALUATE + options in (tmp_path / f"{name}.yaml").read_text().splitlines()


def test_an_unknown_name_is_a_sentence(tmp_path: Path) -> None:
    done = amago2("init", "NoSuch-v7", "--out", tmp_path / "c.yaml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "c.yaml").exists()


def test_a_file_describes_what_no_name_does(tmp_path: Path) -> None:
    described, path = tmp_path / "env.yaml", tmp_path / "config.yaml"
    described.write_text("env: [CartPole-v1, {id: Acrobot-v1, weight: 2}]\n")
    write(str(described), path)
    config = build([Layer(str(path), read_yaml(path))])
    assert [(m.id, m.weight) for m in config.env.mixture or ()] == [
        ("CartPole-v1", 1),
        ("Acrobot-v1", 2),
    ]
    assert config.agent.critic == "two_hot"
    described.write_text("env: CartPole-v1\nseed: 1\n")
    with pytest.raises(ConfigError, match="must have the key env alone"):
        write(str(described), tmp_path / "other.yaml")
