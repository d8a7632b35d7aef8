"""Every name, space and mask that is supported trains; what is not is refused in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build
from amago2.env.make import make_vector_env
from amago2.errors import ConfigError, RunError
from amago2.training.amago_trainer import AmagoTrainer
from tests.amago2.env.zoo import ACTIONS, OBSERVATIONS, PICTURES
from tests.amago2.toy import SMALL

ZOO = "tests.amago2.env.zoo"
TINY: dict[str, Any] = {
    "collector": {"actors": 2, "steps_per_epoch": 10, "epochs": 1},
    "learner": {"updates_per_epoch": 1},
    "evaluation": {"every": 1, "rollouts": 1, "final_rollouts": 1, "actors": 2},
}
SMALL_CNN = {"kind": "cnn", "channels": [4, 4, 4], "features": 8, "output_size": 8}


def config(env: Any, **over: Any) -> AmagoConfig:
    layers = [Layer("", SMALL), Layer("", TINY), Layer("env", {"env": env}), Layer("", over)]
    return build(layers)


def trained(env: Any, folder: Path, **over: Any) -> AmagoTrainer:
    """The trainer after an epoch: it has collected, made an update, and evaluated."""
    made = config(env, **over)
    trainer = AmagoTrainer(made, folder)
    try:
        trainer.resume_or_start()
        trainer.train()
    finally:
        trainer.close()
    assert trainer.updates == 1
    assert len((folder / "evaluations.csv").read_text().splitlines()) > 1
    return trainer


NEXT_STEP = {"entry_point": f"{ZOO}:vectorized", "kwargs": {"mode": "NextStep"}}
NAMES: dict[str, Any] = {
    "id": "CartPole-v1",
    "id with everything": {
        "id": "CartPole-v1",
        "kwargs": {"sutton_barto_reward": True},
        "wrappers": [
            "gymnasium.wrappers.FlattenObservation",
            {"gymnasium.wrappers.ReshapeObservation": {"shape": [2, 2]}},
            "gymnasium.wrappers.FlattenObservation",
            {"gymnasium.wrappers:FrameStackObservation": {"stack_size": 2}},
        ],
        "max_episode_steps": 4,
    },
    "id of a module": f"{ZOO}:Zoo/Spaces-v0",
    "class": f"{ZOO}:Spaces",
    "function": f"{ZOO}:made",
    "list": ["CartPole-v1", {"id": "Acrobot-v1", "weight": 2, "max_episode_steps": 5}],
    "function that takes num_envs, SAME_STEP": {
        "entry_point": f"{ZOO}:vectorized",
        "kwargs": {"mode": "SameStep"},
    },
    "function that takes num_envs, NEXT_STEP": NEXT_STEP,
    "make_vec": {"id": "CartPole-v1", "vectorization": "sync", "max_episode_steps": 6},
    "own vector environment": {"id": "CartPole-v1", "vectorization": "vector_entry_point"},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_an_environment_trains(name: str, tmp_path: Path) -> None:
    trainer = trained(NAMES[name], tmp_path, collector={"steps_per_epoch": 40})
    again = build([Layer("stored", trainer.config.model_dump())])
    assert again.hash == trainer.config.hash


@pytest.mark.parametrize("observed", OBSERVATIONS)
def test_every_observation_trains(observed: str, tmp_path: Path) -> None:
    trained({"entry_point": f"{ZOO}:Spaces", "kwargs": {"observed": observed}}, tmp_path)


@pytest.mark.parametrize("observed", PICTURES)
def test_every_picture_trains(observed: str, tmp_path: Path) -> None:
    env = {"entry_point": f"{ZOO}:Spaces", "kwargs": {"observed": observed}}
    trained(env, tmp_path, timestep_encoder=SMALL_CNN)


@pytest.mark.parametrize("taken", ACTIONS)
def test_every_action_trains(taken: str, tmp_path: Path) -> None:
    """The environment refuses what is not in its space."""
    trained({"entry_point": f"{ZOO}:Spaces", "kwargs": {"taken": taken}}, tmp_path)


@pytest.mark.parametrize("taken", ["", "MultiDiscrete"])
@pytest.mark.parametrize("where", ["info", "observation"])
def test_masked_actions_are_never_taken(
    where: str, taken: str, tmp_path: Path, actor: str, critic: str
) -> None:
    """The environment refuses them, in exploration, by the policy, and in evaluation."""
    env: dict[str, Any] = {
        "entry_point": f"{ZOO}:Masked",
        "kwargs": {"where": where, "taken": taken},
    }
    mask = {"action_mask": "info"} if where == "info" else {}
    trained(env | mask, tmp_path, agent={"actor": actor, "critic": critic})


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ("CartPol-v1", r"env.id is 'CartPol-v1': .*Did you mean: `CartPole`.*my_module:CartPol-v1"),
        ("Taxi-v3", "use `Taxi-v4` instead"),
        ("nowhere:Env-v0", "cannot import nowhere"),
        (f"{ZOO}:Nothing-v0", "Nothing"),
        (f"{ZOO}:nothing", "returned a int, which is no gymnasium.Env"),
        (f"{ZOO}:ZOO", "there is no ZOO"),
        (f"{ZOO}:ACTIONS", "must be a class or a function"),
        ({"id": "CartPole-v1", "kwargs": {"gravity": 1}}, "env.kwargs of CartPole-v1: .*gravity"),
        ({"id": "CartPole-v1", "wrappers": ["nowhere.Wrapper"]}, "env.wrappers is .*cannot import"),
        (
            {"id": "CartPole-v1", "wrappers": ["gymnasium.wrappers.ResizeObservation"]},
            "env.wrappers: .*missing a required argument: 'shape'",
        ),
        (
            {"id": "CartPole-v1", "wrappers": [{"gymnasium.wrappers.TimeLimit": {"x": 1}}]},
            "unexpected keyword argument 'x'|missing a required argument",
        ),
        (["CartPole-v1", "Pendulum-v1"], "must have actions of one kind.*continuous .1. of Pend"),
        (
            NEXT_STEP | {"max_episode_steps": 3},
            "cannot be reset alone with autoreset mode NEXT_STEP",
        ),
        (
            NEXT_STEP | {"processes": 2},
            "env.processes is 2, but .* stepped together",
        ),
        ({"id": "Pendulum-v1", "vectorization": "vector_entry_point"}, "none; use sync or async"),
        ({"entry_point": f"{ZOO}:Spaces", "action_mask": "info"}, "info has no action_mask"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_made_is_refused_in_a_sentence(env: Any, sentence: str) -> None:
    with pytest.raises((ConfigError, RunError), match=sentence) as refused:
        make_vector_env(config(env).env, 2).reset([0], [0])
    assert "\n" not in str(refused.value)
