"""Learning from data: of a finished run, of Minari, alone and mixed with what is collected."""

import csv
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from amago2.config.schema import AmagoConfig
from amago2.env.boundary import Observations
from amago2.env.make import make_env
from amago2.errors import ConfigError, RunError
from amago2.replay.buffer import Replay
from amago2.replay.mixture import Mixture
from amago2.training.amago_trainer import AmagoTrainer, train
from amago2.training.data import FOLDER
from tests.amago2.env.zoo import Spaces
from tests.amago2.toy import Toy, small
from tests.amago2.training.test_train import content, interrupted_at


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose replay has 210 timesteps of almost random actions."""
    config = small(replay={"capacity": 1000}, learner={"updates_per_epoch": 1})
    return train(config, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def record_toy(dataset_id: str, episodes: int, continuous: bool = False) -> None:
    """Make a Minari data set of Toy, with random actions, whose infos name the task."""
    env, rng, buffers = Toy(continuous), np.random.default_rng(0), []
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        seen, tasks, actions, rewards = [observation["o"]], [info["task"]], [], []
        for _ in range(5):
            action: Any = rng.uniform(-2, 2, 2).astype(np.float32)
            action = action if continuous else int(rng.integers(3))
            observation, reward, *_, info = env.step(action)
            seen.append(observation["o"])
            actions.append(action)
            rewards.append(reward)
            tasks.append(info["task"])
        buffers.append(
            EpisodeBuffer(
                observations={"o": seen},
                actions=actions,
                rewards=rewards,
                terminations=[False] * 4 + [True],
                truncations=[False] * 5,
                infos={"task": tasks},
            )
        )
    create(dataset_id, buffers, env)


def create(dataset_id: str, buffers: list[EpisodeBuffer], env: gym.Env[Any, Any]) -> None:
    spaces = {"action_space": env.action_space, "observation_space": env.observation_space}
    minari.create_dataset_from_buffers(dataset_id, buffers, **spaces)


def rows(run: Path, name: str) -> list[dict[str, str]]:
    with (run / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def final_return(run: Path) -> float:
    """Mean return of the last evaluation."""
    found = [row for row in rows(run, "evaluations") if row["metric"] == "return"]
    last = max(int(row["step"]) for row in found)
    return float(np.mean([float(row["value"]) for row in found if int(row["step"]) == last]))


def offline(source: dict[str, Any], **over: Any) -> AmagoConfig:
    sections = {"collector": {"epochs": 2}, "evaluation": {"every": 1}}
    return small(data=[{"share": 1, **source}], **{**sections, **over})


def test_a_policy_learned_from_data_alone_is_better_than_what_it_saw(
    finished: Path, tmp_path: Path
) -> None:
    """Of a run that hardly learned, and of random actions: both have 5 / 3, and 5 is possible."""
    record_toy("toy/random-v0", episodes=60)
    sources = [{"replay": str(finished), "share": 0.4}, {"minari": "toy/random-v0", "share": 0.6}]
    config = small(
        data=sources,
        learner={"updates_per_epoch": 75, "batch_size": 16, "learning_rate": 5e-3},
        collector={"epochs": 2},
        evaluation={"every": 1, "final_rollouts": 20},
    )
    run = train(config, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    assert record["env_steps"] == 0
    assert record["updates"] == 150
    replay, dataset = record["data"]
    assert replay["timesteps"] == 210  # of 216: the others are of rollouts that had not ended
    assert replay["sha256"] == json.loads((finished / "record.json").read_text())["record_sha256"]
    assert (dataset["trajectories"], dataset["timesteps"]) == (60, 300)
    assert {int(row["step"]) for row in rows(run, "evaluations")} == {75, 150}  # updates
    tasks = {row["key"] for row in rows(run, "metrics") if row["name"] == "replay_share"}
    assert tasks == {"left", "right"}
    trained = [row for row in rows(finished, "metrics") if row["name"] == "train_return"]
    assert np.mean([float(row["value"]) for row in trained]) < 2
    assert final_return(run) > 2.3


@pytest.mark.parametrize("continuous", [False, True])
def test_a_minari_episode_is_what_replay_would_have_stored(
    tmp_path: Path, continuous: bool
) -> None:
    record_toy("toy/random-v0", episodes=2, continuous=continuous)
    config = offline({"minari": "toy/random-v0"}, env={"kwargs": {"continuous": continuous}})
    (tmp_path / "run").mkdir()
    with closing(AmagoTrainer(config, tmp_path / "run")) as trainer:
        assert isinstance(trainer.sampled, Mixture)
        (replay,) = trainer.sampled.replays
        tokens = np.zeros(6, replay.record)
        tokens[:] = replay._room[6:12]
        actions = trainer.envs.actions
    env = make_env(config.env)
    observation, info = env.reset(seed=1)
    assert replay.tasks[replay._live[1, 3]] == info["task"]
    assert tokens["action"][0].tolist() == actions.blank().tolist()
    for t, token in enumerate(tokens):
        assert token["time"] == t
        assert token["observation.o"].tolist() == observation["o"].tolist()
        if t < 5:
            (action,) = actions.to_env(tokens["action"][t + 1 : t + 2])
            observation, reward, terminated, *_ = env.step(action)
            assert tokens["reward"][t + 1] == reward
            assert tokens["terminated"][t + 1] == terminated


def over_time(values: list[Any]) -> Any:
    """Values of nested spaces as data sets have them."""
    if isinstance(values[0], dict):
        return {key: over_time([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(over_time([value[i] for value in values]) for i in range(len(values[0])))
    return values


@pytest.mark.parametrize(
    "kwargs",
    [{"observed": "Text"}, {"observed": "nested Dict"}, {"observed": "Tuple", "taken": "Dict"}],
    ids=str,
)
def test_spaces_of_every_kind_are_read(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    env = Spaces(**kwargs)
    env.action_space.seed(0)
    seen, taken = [env.reset(seed=0)[0]], [env.action_space.sample() for _ in range(4)]
    seen += [env.step(action)[0] for action in taken]
    ends = {"terminations": [False] * 4, "truncations": [False] * 3 + [True]}
    buffer = EpisodeBuffer(
        observations=over_time(seen), actions=over_time(taken), rewards=[1.0] * 4, **ends
    )
    create("zoo/spaces-v0", [buffer], env)
    named = {"entry_point": "tests.amago2.env.zoo:Spaces", "kwargs": kwargs}
    with closing(AmagoTrainer(offline({"minari": "zoo/spaces-v0"}, env=named), tmp_path)) as run:
        assert isinstance(run.sampled, Mixture)
        tokens = run.sampled.replays[0]._room[:5]
        assert run.sampled.tasks == ["zoo/spaces-v0"]
        expected = Observations(env.observation_space, rows=5)
        for step, observation in enumerate(seen):
            expected.store(step, observation)
        for key, values in expected.arrays.items():
            assert tokens[f"observation.{key}"].tolist() == values.tolist()
        for action, other in zip(run.envs.actions.to_env(tokens["action"][1:]), taken, strict=True):
            pair = [gym.spaces.flatten(env.action_space, each) for each in (action, other)]
            assert pair[0] == pytest.approx(pair[1], abs=1e-6)


def mixed(finished: Path, **over: Any) -> AmagoConfig:
    return small(data=[{"replay": str(finished), "share": 0.5}], **over)


def test_each_source_has_its_share_of_every_batch(finished: Path, tmp_path: Path) -> None:
    with closing(AmagoTrainer(mixed(finished), tmp_path)) as trainer:
        mixture = trainer.sampled
        assert isinstance(mixture, Mixture)
        assert len(mixture) == 0  # nothing has been collected
        trainer.start()
        trainer.collector.collect(0)  # type: ignore[union-attr]
        assert len(mixture) > 0
        of_data, own = mixture.replays
        for own_share, batch, allowed in ((0.5, 8, {4}), (0.5, 5, {2, 3}), (0.3, 10, {3})):
            mixture = Mixture([of_data, own], [1 - own_share, own_share])
            counts = []
            for seed in range(60):
                made = mixture._counts(np.random.default_rng(seed), batch)
                counts.append(sum(count for replay, _, count in made if replay is own))
            assert set(counts) == allowed
            assert np.mean(counts) == pytest.approx(batch * own_share, abs=0.2)


def test_the_tasks_of_rows_are_those_of_what_is_sampled(finished: Path, tmp_path: Path) -> None:
    """`first` and `second` are told apart by their rewards."""
    record_toy("toy/random-v0", episodes=9)
    sources = [{"replay": str(finished), "share": 0.4}, {"minari": "toy/random-v0", "share": 0.6}]
    with closing(AmagoTrainer(small(data=sources), tmp_path)) as trainer:
        mixture = trainer.sampled
        assert isinstance(mixture, Mixture)
        for seed in range(5):
            records, lengths = mixture.sample(np.random.default_rng(seed), 16, 5)
            tasks = mixture.sampled_tasks(np.random.default_rng(seed), 16)
            # A rollout's first observation says which task it is.
            first = records["observation.o"][:, 0, 0]
            assert (lengths == 6).all()
            assert [mixture.tasks[i] for i in tasks] == [Toy.tasks[int(x)] for x in first]
        assert sum(mixture.task_shares().values()) == pytest.approx(1)


def test_a_mixture_of_both_collects_and_is_resumed_to_the_same_bits(
    finished: Path, tmp_path: Path
) -> None:
    """Even if the data has gone meanwhile: an unfinished run has its own copy."""
    moved = shutil.copytree(finished, tmp_path / "data")
    config = mixed(moved, collector={"epochs": 3})
    whole = train(config, tmp_path / "whole")
    record = json.loads((whole / "record.json").read_text())
    assert record["env_steps"] == 3 * 36
    assert record["hash"] == config.hash != small().hash
    interrupted_at(config, tmp_path / "resumed", epoch=2)
    shutil.rmtree(moved)
    resumed = train(config, tmp_path / "resumed")
    assert content(whole) == content(resumed)
    assert not list(tmp_path.glob(".*scratch*"))


def test_data_alone_are_resumed_to_the_same_bits(finished: Path, tmp_path: Path) -> None:
    config = offline({"replay": str(finished)})
    whole = train(config, tmp_path / "whole")
    interrupted_at(config, tmp_path / "resumed", epoch=1)
    assert content(train(config, tmp_path / "resumed")) == content(whole)


def test_more_epochs_are_of_the_same_data(finished: Path, tmp_path: Path) -> None:
    data = shutil.copytree(finished, tmp_path / "data")
    short, longer = mixed(data, collector={"epochs": 1}), mixed(data, collector={"epochs": 2})
    first = train(short, tmp_path / "first")
    train(longer, tmp_path / "second", continue_from=first)
    shutil.rmtree(data)
    shutil.copytree(first, data)
    with pytest.raises(ConfigError, match=r"data\.0\.replay: .* is not what it was when"):
        train(longer, tmp_path / "third", continue_from=first)


def refused(config: AmagoConfig, folder: Path) -> str:
    """What is said of data that cannot be used; nothing is left of the run."""
    with pytest.raises((ConfigError, RunError)) as error:
        train(config, folder / "refused")
    assert not list(folder.glob("*refused*"))
    return str(error.value)


def test_data_that_do_not_fit_are_refused_in_a_sentence(finished: Path, tmp_path: Path) -> None:
    other_env = {"env": {"kwargs": {"continuous": True}}}
    said = refused(mixed(finished, **other_env), tmp_path)
    assert said.startswith(f"data.0.replay: {finished}: has actions Discrete(3), but the environ")
    assert "Box(-2.0, 2.0, (2,), float32)" in said
    said = refused(mixed(tmp_path / "none"), tmp_path)
    assert said == f"data.0.replay: {tmp_path}/none: no finished run here (no record.json)"
    record_toy("toy/random-v0", episodes=1)
    said = refused(offline({"minari": "toy/random-v0"}, **other_env), tmp_path)
    assert said.startswith("data.0.minari is 'toy/random-v0': has actions Discrete(3), but the")
    said = refused(offline({"minari": "toy/other-v0"}), tmp_path)
    assert "no such data set on this machine; `minari list local` shows" in said


def test_damaged_data_are_refused(finished: Path, tmp_path: Path) -> None:
    data = shutil.copytree(finished, tmp_path / "data")
    shard = sorted((data / "replay").glob("tokens-*"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard.name} is damaged" in refused(mixed(data), tmp_path)
    shutil.rmtree(data / "replay")
    assert "its replay is missing" in refused(mixed(data), tmp_path)


def test_an_episode_that_is_none_is_named(tmp_path: Path) -> None:
    buffer = EpisodeBuffer(
        observations={"o": [np.zeros(3, np.float32)] * 2},
        actions=[2],
        rewards=[float("nan")],
        terminations=[True],
        truncations=[False],
    )
    create("toy/nan-v0", [buffer], Toy())
    said = refused(offline({"minari": "toy/nan-v0"}), tmp_path)
    assert said == "data.0.minari is 'toy/nan-v0': episode 0: a reward is not finite"


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"data": [{"share": 1}]}, "must have one of replay and minari"),
        ({"data": [{"replay": "a", "minari": "b", "share": 1}]}, "must have one of replay and"),
        ({"data": [{"replay": "a", "share": 0.7}] * 2}, r"shares add up to 1\.4, and must to 1"),
        ({"data": [{"replay": "a", "share": 0}]}, r"data\.0\.share is 0: must be greater than 0"),
        ({"data": []}, "must have at least 1 value"),
        (
            {"data": [{"replay": "a", "share": 1}], "collector": {"warmup_epochs": 1}},
            "collector.warmup_epochs only collect, but data leave nothing to collect",
        ),
    ],
)
def test_a_wrong_section_is_refused(over: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        small(**over)


def test_data_are_part_of_the_hash_and_none_is_not() -> None:
    assert small(data=None).hash == small().hash
    assert small(data=[{"replay": "a", "share": 0.5}]).hash != small().hash


def test_a_killed_copy_is_made_anew(finished: Path, tmp_path: Path) -> None:
    half = tmp_path / FOLDER / "0.partial"
    half.mkdir(parents=True)
    (half / "replay.json").write_text("{")
    with closing(AmagoTrainer(mixed(finished), tmp_path)) as trainer:
        assert isinstance(trainer.sampled, Mixture)
        data: Replay = trainer.sampled.replays[0]
        assert data.timesteps == 210
