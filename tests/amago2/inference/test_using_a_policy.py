"""What can be asked of a trained policy, from Python and by command."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import amago2 as package
from amago2.agent.agent import make_agent
from amago2.env.observations import observation_space
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError
from amago2.inference.export import INFO, export
from amago2.inference.player import Player
from amago2.training.amago_trainer import train
from tests.amago2.env.zoo import ACTIONS, OBSERVATIONS
from tests.amago2.test_cli import amago2
from tests.amago2.toy import SMALL, Toy, small

ALLOW = ("--allow-env", "tests.amago2.toy")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {**SMALL, "collector": {**SMALL["collector"], "epochs": 1}}
    return package.train(changes, tmp_path_factory.mktemp("run") / "run")


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("transformer", "pt2"), ("gru", "pt"), ("feed_forward", "pt")],
)
def test_an_exported_policy_acts_like_the_agent(kind: str, ending: str, tmp_path: Path) -> None:
    over: dict[str, Any] = {"kind": kind, "context_length": 5, "width": 16, "layers": 1}
    over |= {"heads": 2, "feedforward_size": 32} if kind == "transformer" else {}
    finished = train(small(collector={"epochs": 1}, trajectory_encoder=over), tmp_path / "run")
    facts = export(finished, tmp_path / f"policy.{ending}")
    assert facts["window"] == ("5 timesteps" if kind == "gru" else "up to 5 timesteps")
    program, about = loaded(tmp_path / f"policy.{ending}")
    assert json.loads(about)["actions"]["kind"] == "discrete"
    policy = package.load(finished, greedy=True)
    rng = np.random.default_rng(0)
    seen, rewards, taken = rng.normal(size=(5, 3)).astype(np.float32), [0.0, 1, 0, 1, 1], []
    before = [np.zeros(3, np.float32)]
    for observation, reward in zip(seen, rewards, strict=True):
        shares = policy.action_probabilities({"o": observation}, reward)
        taken.append(policy.act({"o": observation}, reward))
        assert taken[-1] == shares.argmax()
        before.append(np.eye(3, dtype=np.float32)[taken[-1]])
    window = {"o": torch.from_numpy(seen)[None]}, torch.tensor([rewards])
    actions, outputs = program(
        *window, torch.from_numpy(np.stack(before[:5]))[None], torch.arange(5)[None]
    )
    assert actions[0].argmax(-1).tolist() == taken
    np.testing.assert_allclose(outputs[0, -1].softmax(-1).detach(), shares, atol=1e-5)


def loaded(path: Path) -> tuple[Any, str]:
    extra = {INFO: ""}
    if path.suffix == ".pt":
        program: Any = torch.jit.load(path, _extra_files=extra)
        return program, extra[INFO]
    program = torch.export.load(path, extra_files=extra).module()
    return program, extra[INFO]


def test_an_agent_that_sees_pictures_is_exported_to_torchscript(tmp_path: Path) -> None:
    env = {"entry_point": "tests.amago2.env.zoo:Spaces", "kwargs": {"observed": "channels last"}}
    cnn = {"kind": "cnn", "channels": [4, 4, 4], "features": 8, "output_size": 8}
    changes = {**SMALL, "env": env, "timestep_encoder": cnn}
    changes["collector"] = {"actors": 2, "steps_per_epoch": 10, "epochs": 1}
    finished = package.train(changes, tmp_path / "run")
    facts = export(finished, tmp_path / "policy.pt")  # which compares it with the agent
    assert facts["observations"] == "observation (B, L, 36, 40, 3)"
    with pytest.raises(ConfigError, match=r"sees pictures is exported to .pt"):
        export(finished, tmp_path / "policy.pt2")


def test_what_cannot_be_exported_to_is_a_sentence(run: Path, tmp_path: Path) -> None:
    done = amago2("export", run, "--out", tmp_path / "policy.onnx")
    assert done.returncode == 2
    assert "must end in .pt2 (torch.export) or .pt (TorchScript)" in done.stderr
    (tmp_path / "mine.pt").write_text("my own")
    done = amago2("export", run, "--out", tmp_path / "mine.pt")
    assert "exists and is no exported policy" in done.stderr
    done = amago2("export", run, "--out", tmp_path / "policy.pt")
    assert done.returncode == 0, done.stderr
    assert "TorchScript" in done.stdout


def player(space: gym.Space[Any], actions: gym.Space[Any], **over: Any) -> Player:
    return Player(make_agent(small(**over), observation_space(space), ActionSpec.of(actions)))


@pytest.mark.parametrize("observed", OBSERVATIONS)
def test_a_policy_reads_what_the_environment_returns(observed: str) -> None:
    space = OBSERVATIONS[observed]
    plays = player(space, gym.spaces.Discrete(3))
    assert plays.act(space.sample()) in range(3)
    with pytest.raises(ValueError, match="observation"):
        plays.act("what?!")


@pytest.mark.parametrize("key", ["observation", "o"])
def test_a_policy_that_lacks_its_mask_says_how_it_is_given(key: str) -> None:
    box = gym.spaces.Box(-1, 1, (2,), np.float32)
    spaces = {key: box, "action_mask": gym.spaces.MultiBinary(3)}
    plays = player(gym.spaces.Dict(spaces), gym.spaces.Discrete(3))
    seen: Any = np.ones(2)
    advice, given = "'observation': ...", {"observation": seen}
    if key == "o":
        advice, given = r"\*\*observation", {"o": seen}
    for ask in (plays.act, plays.values):
        with pytest.raises(
            ValueError, match=rf"{{{advice}, 'action_mask': info\['action_mask'\]}}"
        ):
            ask(given if key == "o" else seen)
    assert plays.act({**given, "action_mask": [0, 0, 1]}) == 2
    with pytest.raises(ValueError, match="observation 'action_mask' is"):
        plays.act({**given, "action_mask": [7]})


@pytest.mark.parametrize("taken", ACTIONS)
def test_a_policy_takes_what_the_environment_takes(taken: str) -> None:
    plays = player(gym.spaces.Box(-1, 1, (2,), np.float32), ACTIONS[taken])
    for greedy in (False, True):
        plays.agent.greedy = greedy
        assert ACTIONS[taken].contains(
            np.asarray(a) if np.isscalar(a := plays.act(np.ones(2))) else a
        )
    assert plays.values(np.ones(2)).shape == (1,)


def test_values_and_probabilities_are_asked_without_acting(critic: str) -> None:
    box, actions = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(3)
    plays, other = (player(box, actions, agent={"critic": critic}) for _ in range(2))
    for step in range(4):
        values = plays.values(np.ones(2), step)
        shares = plays.action_probabilities(np.ones(2), step)
        assert values.shape == shares.shape == (3,)
        assert shares.sum() == pytest.approx(1)
        assert plays.act(np.ones(2), step) == other.act(np.ones(2), step)
    both = player(box, ACTIONS["MultiDiscrete"]).action_probabilities(np.ones(2))
    assert [len(each) for each in both] == [3, 2]
    with pytest.raises(ValueError, match="densities"):
        player(box, gym.spaces.Box(-1, 1)).action_probabilities(np.ones(2))


def test_an_evaluation_has_intervals_by_task_and_over_all(run: Path) -> None:
    options = ("--episodes", 4, "--seed", 3, "--greedy", "--json", "--set", "evaluation.actors=2")
    done = amago2("evaluate", run, *options, *ALLOW)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["greedy"] is True
    returns = {x["task"]: x for x in content["results"] if x["metric"] == "return"}
    assert set(returns) == {"left", "right", "all tasks"}
    assert returns["all tasks"]["rollouts"] == 8
    assert returns["all tasks"]["mean"] == pytest.approx(
        (returns["left"]["mean"] + returns["right"]["mean"]) / 2
    )
    assert all(x["low"] <= x["mean"] <= x["high"] for x in content["results"])
    again = package.evaluate(run, 4, 3, greedy=True, allow_env=["tests.amago2.toy"])
    assert [vars(each) for each in again] == content["results"]
    with pytest.raises(ConfigError, match=r"--allow-env tests\.amago2\.toy"):
        package.evaluate(run)
    done = amago2("evaluate", run, "--rollouts", 1, *ALLOW)
    assert "95 % interval" in done.stdout


def test_python_takes_a_mapping_a_file_or_a_configuration(run: Path, tmp_path: Path) -> None:
    config = small(collector={"epochs": 1})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    other = package.train(tmp_path / "config.yaml", tmp_path / "run")
    name = "checkpoint/policy.safetensors"
    assert (other / name).read_bytes() == (run / name).read_bytes()
    assert package.train(config, other) == other  # it is finished
    with pytest.raises(ConfigError, match=r"^configuration: unknown key lerner"):
        package.train({**SMALL, "lerner": {}}, tmp_path / "no")
    observation, _ = Toy().reset(seed=0)
    assert package.load(run).values(observation).shape == (3,)


def test_rendering_is_chosen_when_it_is_played(tmp_path: Path) -> None:
    config = small(env={"entry_point": None, "id": "CartPole-v1"}, collector={"epochs": 1})
    finished = train(config, tmp_path / "run")
    done = amago2("play", finished, "--video", tmp_path / "x.gif", "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.gif").read_bytes().startswith(b"GIF8")
    done = amago2("play", finished)
    assert done.returncode == 2
    assert "name a file with --video, or show a window with --render human" in done.stderr
    done = amago2("play", finished, "--video", tmp_path / "y.gif", "--render", "ansi")
    assert done.returncode == 1
    assert "render_mode is 'ansi', not 'rgb_array'" in done.stderr


def test_the_view_of_a_run(run: Path, tmp_path: Path) -> None:
    done = amago2("watch", run, "--once")
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    assert "evaluation, left (train)" in done.stdout
    done = amago2("watch", tmp_path)
    assert done.returncode == 2
    assert "no run is here" in done.stderr
