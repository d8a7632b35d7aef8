"""The plain baseline: the same, written the obvious way, or without what it is to cost nothing."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from amago2.env import boundary
from amago2.env.observations import as_dict
from amago2.env.vector_env import VectorEnv
from amago2.nets import action_values
from amago2.nets.critic_ensemble import CriticEnsemble
from amago2.nets.rows import Rows
from amago2.nets.timestep_encoders import TimestepEncoder
from amago2.nets.transformer import Transformer
from amago2.nets.two_hot import ValueBins, two_hot_cross_entropy


@contextlib.contextmanager
def unoptimised_learner() -> Iterator[None]:
    """Undo what makes the learner's arithmetic fast, leaving the arithmetic.

    The critics' first layer reads (state, discount feature, action) joined, values are computed at
    once for every sample and member, padding is encoded too, and labels of value classes are dense.
    """
    with (
        patch.object(CriticEnsemble, "embed_states", _states_of_all),
        patch.object(CriticEnsemble, "outputs", _outputs_of_joined_inputs),
        patch.object(action_values, "in_one_pass", lambda _: True),
        patch.object(TimestepEncoder, "forward", _encode_padding_too),
        patch.object(ValueBins, "cross_entropy", _dense_cross_entropy),
    ):
        yield


_embed_states = CriticEnsemble.embed_states


def _states_of_all(self: CriticEnsemble, states: Tensor) -> Tensor:
    """The states themselves, where discount and action will join them."""
    return _embed_states(self, states) if self.features is None else states


def _outputs_of_joined_inputs(
    self: CriticEnsemble, states: Tensor, actions: Tensor, frozen: bool = False
) -> Tensor:
    assert self.features is not None
    layers = self._layers(frozen)
    m, g, k = len(states), len(self.features), actions.shape[-2]
    joined = torch.cat(
        [
            states[:, None, None].expand(m, g, k, -1),
            self.features.view(1, g, 1, 1).expand(m, g, k, 1),
            actions.expand(m, g, k, -1),
        ],
        -1,
    ).flatten(0, 2)
    weight, bias = layers[0]
    first = torch.baddbmm(bias, joined.expand(len(weight), *joined.shape), weight)
    return self._later_layers(first, layers).view(len(first), m, g, k, -1)


def _dense_cross_entropy(self: ValueBins, logits: Tensor, values: Tensor) -> Tensor:
    return two_hot_cross_entropy(logits, self.encode(values))


_encode = TimestepEncoder.forward


def _encode_padding_too(
    self: TimestepEncoder,
    observation: dict[str, Tensor],
    reward: Tensor,
    action: Tensor,
    tokens: Rows | None = None,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Encode every timestep; normalisers learn from the valid ones first."""
    if tokens is None or tokens.all:
        return _encode(self, observation, reward, action, tokens, rng)
    _encode(self, observation, reward, action, tokens, None)  # for the normalisers
    length = reward.shape[1]
    valid = (tokens.inverse < len(tokens.index)).view(reward.shape)
    flat = {key: x.flatten(0, 1) for key, x in observation.items()}
    every = _encode(self, flat, reward.flatten(), action.flatten(0, 1))
    return every.unflatten(0, (-1, length)) * valid.unsqueeze(-1)


@dataclass
class History:
    """What N rollouts saw, for acting without a cache: tokens (N, context, D), steps (N,)."""

    seen: Tensor
    steps: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout."""
        self.steps[row] = 0

    def tensors(self) -> dict[str, Tensor]:
        """As a memory has it."""
        return {"seen": self.seen, "steps": self.steps}


@contextlib.contextmanager
def unoptimised_actors() -> Iterator[None]:
    """Act without keys and values: every step reads the last `context` timesteps anew."""
    with (
        patch.object(Transformer, "initial_memory", _initial_history),
        patch.object(Transformer, "step", _read_history),
    ):
        yield


def _initial_history(self: Transformer, rows: int, device: torch.device) -> History:
    seen = torch.zeros(rows, self.config.context_length, self.input.in_features, device=device)
    return History(seen, torch.zeros(rows, dtype=torch.int64, device=device))


def _read_history(self: Transformer, tokens: Tensor, memory: History) -> Tensor:
    context, rows = self.config.context_length, torch.arange(len(tokens))
    full = memory.steps >= context
    memory.seen[full] = memory.seen[full].roll(-1, 1)
    last = memory.steps.clamp(max=context - 1)
    memory.seen[rows, last] = tokens
    length = int(last.max()) + 1
    first = memory.steps - last
    time = first.unsqueeze(1) + torch.arange(length)
    states: Any = self(memory.seen[:, :length], time, None)
    memory.steps += 1
    found: Tensor = states[rows, last]
    return found


@contextlib.contextmanager
def unchecked_environments() -> Iterator[None]:
    """Take what environments of this process return as it is."""
    with (
        patch.object(VectorEnv, "_take", _take_as_it_is),
        patch.object(VectorEnv, "_check", lambda *_, **__: None),
    ):
        yield


def _take_as_it_is(self: VectorEnv, row: int, returned: Any) -> None:
    observation, reward, terminated, truncated, info = returned
    self.returned[0][row] = reward
    self.returned[1][row] = terminated
    self.returned[2][row] = truncated
    for key, value in as_dict(observation).items():
        self.observation[key][row] = value
    if "attempt_return" in info:
        self.attempts[row] = boundary.attempt(info)
