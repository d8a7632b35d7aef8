"""Configurations, agents and batches to measure: of published timings' sizes and the paper's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional as F

from amago2.agent.agent import Agent, make_agent
from amago2.agent.batch import Batch
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build
from amago2.env.spaces import ActionSpec
from workflow.benchmarks.description import Array
from workflow.benchmarks.lookup import benchmark
from workflow.config.parameters import Parameters

PARAMS = Path(__file__).resolve().parents[2] / "params"
VARIANTS = {
    "dep_actor_dep_critic": {"actor": "policy_gradient", "critic": "popart"},
    "ind_actor_ind_critic": {"actor": "filtered_imitation", "critic": "two_hot"},
    "dep_actor_ind_critic": {"actor": "policy_gradient", "critic": "two_hot"},
    "ind_actor_dep_critic": {"actor": "filtered_imitation", "critic": "popart"},
}
SMALL: dict[str, Any] = {
    "env": {"entry_point": "bench:None"},
    "timestep_encoder": {"kind": "feed_forward", "hidden_sizes": [512, 512], "output_size": 200},
    "trajectory_encoder": {
        "context_length": 127,
        "width": 128,
        "layers": 2,
        "feedforward_size": 512,
    },
    "learner": {"batch_size": 24, "updates_per_epoch": 1},
    "collector": {"actors": 1, "steps_per_epoch": 1, "epochs": 1},
    "replay": {"capacity": 1},
    "evaluation": {"every": 1, "rollouts": 1, "final_rollouts": 1},
}
SIZES: dict[str, dict[str, Any]] = {
    "small": {},
    "medium": {
        "trajectory_encoder": {
            "context_length": 255,
            "width": 256,
            "layers": 3,
            "feedforward_size": 1024,
        }
    },
    "pixels": {
        "timestep_encoder": {"kind": "cnn"},
        "trajectory_encoder": {"width": 256, "layers": 3, "feedforward_size": 1024},
        "learner": {"batch_size": 8},
    },
}
PAPER = ("ml45", "popgym", "procgen_easy", "procgen_memory_hard", "atari", "babyai")

Boxes = Mapping[str, gym.spaces.Box]

_DESCRIBED_AS = {"pixels": "procgen_easy"}
"""Sizes that have the spaces of a benchmark of another name."""
_SMALL_SPACES = (
    {"observation": gym.spaces.Box(-9, 9, (17,), np.float32)},
    ActionSpec("discrete", 4),
)


def config(size: str, variant: str, over: Mapping[str, Any] | None = None) -> AmagoConfig:
    """Configuration of a size (a key of `SIZES`, or one of `PAPER`) and variant."""
    last = Layer("over", over or {})
    if size not in PAPER:
        layers = [Layer("small", SMALL), Layer(size, SIZES[size])]
        return build([*layers, Layer(variant, {"agent": VARIANTS[variant]}), last])
    here = Layer("here", {"device": "cpu"})
    made = Parameters(PARAMS).resolve(size, variant, "paper", 0, [here, last])
    assert isinstance(made, AmagoConfig)
    return made


def spaces(size: str) -> tuple[Boxes, ActionSpec]:
    """Observation Boxes by key, and the actions, of a size: no simulator is needed for them."""
    name = _DESCRIBED_AS.get(size, size)
    if name not in PAPER:
        return _SMALL_SPACES
    described = benchmark(name)
    actions = described.actions
    assert actions is not None
    bounds = np.ones(actions.size, np.float32)
    limits = (-bounds, bounds) if actions.kind == "continuous" else ()
    observations = {key: _box(array) for key, array in described.observations.items()}
    return observations, ActionSpec(actions.kind, actions.size, *limits)


def _box(array: Array) -> gym.spaces.Box:
    dtype: Any = np.dtype(array.dtype)
    low, high = (0, array.high) if np.issubdtype(dtype, np.integer) else (-9, 9)
    return gym.spaces.Box(low, high, array.shape, dtype.type)


def agent(size: str, made: AmagoConfig) -> Agent:
    """A fresh agent, ready to learn."""
    return make_agent(made, *spaces(size)).train()


def batch(size: str, made: AmagoConfig, rng: torch.Generator) -> Batch:
    """A batch (B, L) of noise in which every timestep is valid."""
    boxes, actions = spaces(size)
    shape = (made.learner.batch_size, made.trajectory_encoder.context_length + 1)
    observation = {}
    for key, box in boxes.items():
        whole = (*shape, *box.shape)
        if np.issubdtype(box.dtype, np.integer):
            drawn = torch.randint(0, int(box.high.max()) + 1, whole, generator=rng)
            observation[key] = drawn.byte() if box.dtype == np.uint8 else drawn.int()
        else:
            observation[key] = torch.randn(whole, generator=rng)
    if actions.kind == "discrete":
        taken = F.one_hot(torch.randint(actions.size, shape, generator=rng), actions.size).float()
    else:
        taken = torch.rand(*shape, actions.size, generator=rng) * 2 - 1
    return Batch(
        observation,
        torch.randn(shape, generator=rng),
        taken,
        torch.zeros(shape, dtype=torch.bool),
        torch.arange(shape[1]).expand(shape),
        torch.ones(shape, dtype=torch.bool),
    )
