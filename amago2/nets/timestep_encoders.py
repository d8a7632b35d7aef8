"""Timestep encoders: observation, previous action and reward -> one vector, no temporal mixing."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import gymnasium as gym
import torch
from torch import Tensor, nn

from amago2.config import FeedForwardEncoder
from amago2.spaces import ActionSpec
from amago2.value_bins import symlog

Observation = Mapping[str, Tensor]


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given sizes with leaky ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1])


class InputNorm(nn.Module):
    """Running standardisation of a vector (..., D), updated on valid timesteps while training.

    Exponential averages whose rate is corrected for their start: the first batches dominate, then
    the rate settles at `RATE`.
    """

    RATE = 1e-4
    mean: Tensor
    square: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.ones(size))
        self.register_buffer("count", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Learn from valid timesteps x (M, D)."""
        if not len(x):
            return
        self.count += 1
        rate = (self.RATE / (1 - (1 - self.RATE) ** self.count)).float()
        self.mean.lerp_(x.mean(0), rate)
        self.square.lerp_((x * x).mean(0), rate)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x (..., D)."""
        std = (self.square - self.mean**2).clamp(min=0).add(1e-5).sqrt().clamp(1e-3, 1e6)
        centered = x - self.mean
        # A constant input has no scale to divide by.
        return torch.where(std > 0.01, centered / std, centered).clamp(-1e4, 1e4)


class FeedForward(nn.Module):
    """Vectors -> normalised -> MLP -> LayerNorm. Input: observation, reward, action joined."""

    def __init__(
        self,
        config: FeedForwardEncoder,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
        symlog_reward: bool,
    ) -> None:
        """Raises `ValueError` for images, which need a convolutional encoder."""
        super().__init__()
        images = [key for key, box in observations.items() if len(box.shape) > 1]
        if images:
            raise ValueError(f"encoder ff reads vectors; observation {images[0]} is an image")
        self.keys = list(observations)
        self.symlog_reward = symlog_reward
        inputs = sum(int(box.shape[0]) for box in observations.values()) + 1 + actions.size
        self.norm = InputNorm(inputs)
        self.net = mlp([inputs, *config.hidden, config.output])
        self.out_norm = nn.LayerNorm(config.output)
        self.output = config.output

    def forward(
        self, observation: Observation, reward: Tensor, action: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Encode observation[k] (..., d_k), reward (...), action (..., A) -> (..., D).

        `valid` (...) bool, given while training, selects what the normaliser learns from.
        """
        reward = symlog(reward) if self.symlog_reward else reward
        parts = [observation[key].float() for key in self.keys]
        joined = torch.cat([*parts, reward.unsqueeze(-1), action], -1)
        if valid is not None:
            self.norm.update(joined[valid])
        encoded: Tensor = self.out_norm(self.net(self.norm(joined)))
        return encoded
