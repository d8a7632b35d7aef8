"""What surrounds a CUDA graph; that a replay gives the same bits is tests/gpu/test_numbers.py's."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amago2.agent.agent import make_agent
from amago2.config.layers import Layer
from amago2.config.schema import build
from amago2.errors import ConfigError
from amago2.nets.captured import CapturedTransformer
from amago2.nets.transformer import Transformer
from amago2.replay.shards import record_type
from amago2.training.learner import Learner
from tests.amago2.agent.test_agent import BOXES, DISCRETE
from tests.amago2.toy import SMALL, small


class Replays:
    """A stand-in for `make_graphed_callables`: warms up as that does, and records nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, module: nn.Module, samples: tuple[Tensor, ...]) -> Any:
        surface = [x for x in (*samples, *module.parameters()) if x.requires_grad]
        for _ in range(3):
            states = module(*samples)
            torch.autograd.grad(states, surface, torch.ones_like(states))

        def replay(*given: Tensor) -> Tensor:
            assert [x.shape for x in given] == [x.shape for x in samples]
            self.count += 1
            states: Tensor = module(*given)
            return states

        return replay


def learned(dropout: float, replays: Replays | None) -> dict[str, Tensor]:
    """State after an update with a whole context, one without, and another one with it."""
    config = small(trajectory_encoder={"dropout": dropout})
    records = np.zeros((8, 6), record_type(BOXES, DISCRETE))
    records["time"] = np.arange(6)
    records["reward"] = np.arange(48).reshape(8, 6)
    agent = make_agent(config, BOXES, DISCRETE).train()
    learner = Learner(config, agent, None)
    assert learner.captured is None  # on a CPU
    if replays:
        assert isinstance(agent.trajectory_encoder, Transformer)
        with patch.object(torch.cuda, "make_graphed_callables", replays):
            learner.captured = CapturedTransformer(agent.trajectory_encoder, 8)
    for longest in (6, 4, 6):
        learner.step(records, np.array([longest, 3, 2, 4, 4, 2, 3, 3]))
    return agent.state_dict()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_it_stands_in_for_batches_of_whole_contexts_and_changes_nothing(dropout: float) -> None:
    replays = Replays()
    found, plain = learned(dropout, replays), learned(dropout, None)
    assert replays.count == 2
    for name, value in plain.items():
        assert torch.equal(found[name], value), name


def test_it_renames_no_run_and_needs_a_transformer() -> None:
    assert small(learner={"cuda_graph": True}).hash == small().hash
    gru = {"kind": "gru", "context_length": 5}
    given = SMALL | {"learner": SMALL["learner"] | {"cuda_graph": True}, "trajectory_encoder": gru}
    with pytest.raises(ConfigError, match="cuda_graph needs trajectory_encoder"):
        build([Layer("x", given)])
