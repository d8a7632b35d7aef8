"""Numbers that a CUDA device must compute as the CPU does: `make test-gpu`.

All that asserts numbers is here. Under a driver that computes nothing these tests run to their last
line and fail there, and those of `test_runs.py` pass.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from amago2.agent.agent import Agent, make_agent
from amago2.env.spaces import ActionSpec
from amago2.training.amago_trainer import train
from amago2.training.torch_settings import tf32
from tests.amago2.agent.test_agent import BOXES, CONTINUOUS, DISCRETE, batch, gradients
from tests.amago2.toy import small
from tests.amago2.training.test_train import content, interrupted_at

pytestmark = pytest.mark.gpu
DEVICE = "cuda"


def agent(device: str, spec: ActionSpec, learner: dict[str, Any], **settings: Any) -> Agent:
    """The same weights on any device; advantages weigh smoothly, since rounding decides signs."""
    over = {"agent": {**settings, "filter": "exponential"}, "trajectory_encoder": {"dropout": 0.05}}
    made = make_agent(small(**over, learner=learner, device=device), BOXES, spec)
    return made.train()


def on(device: str, spec: ActionSpec, learner: dict[str, Any], **settings: Any) -> Any:
    """Loss and gradients of one batch; all draws are the CPU's."""
    made = agent(device, spec, learner, **settings)
    loss, found = gradients(made, batch(spec, size=16))
    return loss, torch.cat([g.cpu().flatten() for g in found.values()])


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("critic", ["two_hot", "popart"])
@pytest.mark.parametrize("actor", ["filtered_imitation", "policy_gradient"])
def test_losses_and_gradients_are_those_of_the_cpu(
    actor: str, critic: str, spec: ActionSpec
) -> None:
    there, here = (on(device, spec, {}, actor=actor, critic=critic) for device in (DEVICE, "cpu"))
    assert there[0] == pytest.approx(here[0], rel=1e-4)
    assert (there[1] - here[1]).norm() <= 1e-3 * here[1].norm()


@pytest.mark.parametrize("precision", ["tfloat32", "bfloat16"])
def test_lower_precisions_are_close(precision: str) -> None:
    exact = on(DEVICE, DISCRETE, {})
    with tf32(precision == "tfloat32"):
        rounded = on(DEVICE, DISCRETE, {"precision": precision})
    assert rounded[0] == pytest.approx(exact[0], rel=0.02)
    assert torch.cosine_similarity(rounded[1], exact[1], 0) > 0.99


def records_graphs() -> bool:
    """Whether the driver can record anything at all; one that computes nothing may not."""
    x = torch.zeros(1, device=DEVICE)
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            x.add_(1)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_transformer_learns_the_same_bits(precision: str, tmp_path: Path) -> None:
    if not records_graphs():
        pytest.skip("this driver records no CUDA graphs, so it is not a GPU's")
    runs = [
        train(
            small(device=DEVICE, learner={"precision": precision, "cuda_graph": captured}),
            tmp_path / str(captured),
        )
        for captured in (False, True)
    ]
    for name in ("metrics.csv", "checkpoint/policy.safetensors", "checkpoint/trainer.safetensors"):
        assert content(runs[0])[name] == content(runs[1])[name], name


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_steps_with_a_cache_are_the_whole_sequence(precision: str | None) -> None:
    made = agent(DEVICE, DISCRETE, {"precision": precision}).eval()
    seen = made.prepare(batch(DISCRETE, size=4))
    memory = made.initial_memory(4)
    half = torch.autocast(DEVICE, torch.bfloat16, enabled=precision is not None)
    with torch.inference_mode():
        with half:
            whole = made.trajectory_encoder(
                made.timestep_encoder(seen.observation, seen.reward, seen.action), seen.time, None
            )
        for t in range(5):
            step = {key: x[:, t] for key, x in seen.observation.items()}
            encoded = made.timestep_encoder(step, seen.reward[:, t], seen.action[:, t])
            state = made.trajectory_encoder.step(encoded, memory)  # type: ignore[arg-type]  # its own memory
            tolerance = 1e-4 if precision is None else 0.05
            assert torch.allclose(state, whole[:, t].float(), atol=tolerance, rtol=tolerance)


LONG: dict[str, Any] = {
    "env": {"kwargs": {"length": 200}},
    "trajectory_encoder": {"context_length": 200},
    "collector": {"steps_per_epoch": 250},
    "replay": {"capacity": 5000},
}
"""Attention sums the gradients of a query over several blocks of keys."""


@pytest.mark.parametrize("over", [{}, LONG], ids=["short", "long"])
@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    tmp_path: Path, over: dict[str, Any], precision: str | None
) -> None:
    config = small(device=DEVICE, learner={"precision": precision}, **over)
    whole = train(config, tmp_path / "whole")
    interrupted_at(config, tmp_path / "killed", epoch=3)
    assert content(train(config, tmp_path / "killed")) == content(whole)


def test_images_are_seen_as_on_the_cpu() -> None:
    """Convolutions, group norms and random shifts, recomputed in the backward pass."""
    boxes = {"image": gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
    encoder = {
        "kind": "cnn",
        "channels": [4, 8],
        "features": 16,
        "output_size": 8,
        "recompute_frames": 7,
    }
    found = []
    for device in (DEVICE, "cpu"):
        config = small(device=device, timestep_encoder=encoder, agent={"filter": "exponential"})
        made = make_agent(config, boxes, DISCRETE).train()
        plain = batch(DISCRETE)
        image = torch.arange(6 * 6 * 64 * 64 * 3).view(6, 6, 64, 64, 3).remainder(251).byte()
        seen = type(plain)({"image": image}, *list(vars(plain).values())[1:])
        loss, grads = gradients(made, seen)
        found.append((loss, torch.cat([g.cpu().flatten() for g in grads.values()])))
    there, here = found
    assert there[0] == pytest.approx(here[0], rel=1e-4)
    assert (there[1] - here[1]).norm() <= 1e-3 * here[1].norm()
