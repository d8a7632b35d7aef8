"""What the other ranks of a run do: learn from their share of every batch, and nothing else."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from torch import Tensor

from amago2.agent.agent import make_agent
from amago2.config.schema import AmagoConfig
from amago2.distributed import ProcessGroup
from amago2.env.stored_spaces import read_spaces
from amago2.replay.shards import record_type
from amago2.training.learner import Learner
from amago2.training.torch_settings import torch_settings


def work(group: ProcessGroup) -> None:
    """Learn as one of the ranks other than 0, until the run ends.

    Raises `RunError` if rank 0 is lost.
    """
    with closing(group):
        if state := group.receive_state():
            values, tensors = state
            config = AmagoConfig.model_validate(values["config"])
            with torch_settings(config):
                _learn(group, config, values, tensors)


def _learn(
    group: ProcessGroup,
    config: AmagoConfig,
    values: Mapping[str, Any],
    tensors: dict[str, Tensor],
) -> None:
    """Start from the weights and optimiser state that `AmagoTrainer` broadcasts, then update."""
    observations, actions = read_spaces(values["spaces"])
    group.use_device(config.device)
    agent = make_agent(config, observations, actions)
    agent.load_state_dict({name: tensors.pop(name) for name in agent.state_dict()})
    learner = Learner(config, agent, None, group)
    learner.load_state_dict(tensors, values["updates"])
    agent.train()
    record = record_type(observations, actions)
    length = config.trajectory_encoder.context_length + 1
    while batch := group.receive_batch(length, record):
        learner.step(*batch)
