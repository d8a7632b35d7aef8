"""The gradient of a batch in parts is that of the whole, and takes less memory."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from amago2.agent import accumulation
from amago2.agent.agent import Agent, make_agent
from amago2.agent.batch import PreparedBatch
from amago2.config.schema import AmagoConfig
from amago2.env.spaces import Array
from amago2.errors import ConfigError
from amago2.replay.batches import make_batch
from amago2.replay.shards import record_type
from amago2.seeding import Stream, torch_rng
from tests.amago2.agent.test_agent import BOXES, DISCRETE
from tests.amago2.toy import small

NO_NOISE = {"num_critics": 1, "num_target_critics": 1, "expectation": "exact"}
VARIANTS = [
    {"actor": actor, "critic": critic}
    for actor in ("filtered_imitation", "policy_gradient")
    for critic in ("two_hot", "popart")
]


def sampled(rows: int, context: int) -> tuple[Array, Array]:
    """Sub-sequences of different lengths; rewards grow, so that parts have other statistics."""
    rng = np.random.default_rng(0)
    records = np.zeros((rows, context + 1), record_type(BOXES, DISCRETE))
    lengths = rng.integers(2, context + 2, rows)
    scale = np.arange(1, rows + 1)[:, None]
    for name in records.dtype.names or ():
        if name.startswith("observation."):
            records[name] = rng.normal(size=records[name].shape) * scale[..., None]
    records["reward"] = rng.normal(size=records.shape) * scale
    records["action"] = rng.integers(DISCRETE.size, size=records.shape)
    records["terminated"] = rng.random(records.shape) < 0.1
    records["time"] = np.arange(context + 1)
    return records, lengths


def rng_of(*part: int) -> torch.Generator:
    return torch_rng(0, Stream.UPDATE, *part)


def split(agent: Agent, records: Array, lengths: Array, count: int) -> list[PreparedBatch]:
    pairs = zip(np.split(records, count), np.split(lengths, count), strict=True)
    return [agent.prepare(make_batch(*pair, DISCRETE)) for pair in pairs]


def learned(config: AmagoConfig, count: int) -> tuple[dict[str, Tensor], ...]:
    """Gradients, buffers and metrics after a batch of 12 in `count` parts; 0 for the usual way."""
    agent = make_agent(config, BOXES, DISCRETE).train()
    records, lengths = sampled(12, 7)
    if count:
        parts = split(agent, records, lengths, count)
        metrics = accumulation.backward(agent, parts, rng_of, 1.0)
        metrics = accumulation.with_deviation(metrics)
    else:
        (batch,) = split(agent, records, lengths, 1)
        loss, metrics = agent.loss(batch, rng_of())
        loss.backward()
    gradients = {k: p.grad for k, p in agent.named_parameters() if p.grad is not None}
    return gradients, dict(agent.named_buffers()), metrics


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))
@pytest.mark.parametrize("kind", ["transformer", "gru"])
def test_parts_give_the_gradient_of_the_whole(variant: dict[str, str], kind: str) -> None:
    encoder: dict[str, Any] = {"kind": kind, "context_length": 7, "width": 16, "layers": 2}
    encoder |= {"heads": 2, "feedforward_size": 32, "dropout": 0} if kind == "transformer" else {}
    config = small(agent={**NO_NOISE, **variant}, trajectory_encoder=encoder)
    whole = learned(config, 0)
    for count in (2, 4):
        for one, other in zip(whole, learned(config, count), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                torch.testing.assert_close(other[name], value, rtol=2e-4, atol=2e-6, msg=name)


def test_a_part_alone_would_not_do() -> None:
    """What the test above would miss if parts were alike: they are not."""
    config = small(agent={**NO_NOISE, "critic": "popart"}, trajectory_encoder={"dropout": 0})
    agent = make_agent(config, BOXES, DISCRETE).train()
    halves = split(agent, *sampled(12, 7), 2)
    losses = [float(agent.loss(half, rng_of(0))[0]) for half in halves]
    assert abs(losses[0] - losses[1]) > 0.05 * abs(losses[0])
    assert len(halves[0].action_t) != len(halves[1].action_t)


class Saved:
    """What a backward pass keeps."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def peak(agent: Agent, parts: list[PreparedBatch]) -> int:
    """Most bytes that are kept for the backward pass at a time."""
    held = most = 0

    def drop(size: int) -> None:
        nonlocal held
        held -= size

    def pack(tensor: Tensor) -> Saved:
        nonlocal held, most
        saved = Saved(tensor.detach())  # or an output would keep the node that keeps it
        held += tensor.nbytes
        most = max(most, held)
        weakref.finalize(saved, drop, tensor.nbytes)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        if len(parts) > 1:
            accumulation.backward(agent, parts, rng_of, 1.0)
        else:
            agent.loss(parts[0], rng_of())[0].backward()
    return most


def test_it_takes_less_memory() -> None:
    agent = make_agent(small(), BOXES, DISCRETE).train()
    records, lengths = sampled(32, 5)
    lengths[:] = 6
    whole, half, eighth = (peak(agent, split(agent, records, lengths, n)) for n in (1, 2, 8))
    assert half < 0.65 * whole
    assert eighth < 0.2 * whole


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"learner": {"gradient_accumulation": 3}}, "8 must be divisible by gradient_accumulation"),
        (
            {"learner": {"gradient_accumulation": 4, "processes": 4}},
            "batch_size 8 must be divisible by processes 4 times gradient_accumulation 4",
        ),
        (
            {"learner": {"gradient_accumulation": 2}, "agent": {"filter": "exponential"}},
            "gradient_accumulation excludes agent.filter exponential",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(over: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        small(**over)


def test_off_it_renames_no_run() -> None:
    assert small(learner={"gradient_accumulation": None}).hash == small().hash
    assert small(learner={"gradient_accumulation": 2}).hash != small().hash
