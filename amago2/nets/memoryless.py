"""A trajectory encoder without memory: each timestep alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.config.schema import FeedForwardConfig
from amago2.nets.dropout import dropout
from amago2.nets.recurrent import HiddenState


class Memoryless(nn.Module):
    """Residual feed-forward blocks on each timestep: the agent without memory."""

    def __init__(self, inputs: int, config: FeedForwardConfig) -> None:
        super().__init__()
        self.output, self.rate = config.width, config.dropout
        self.input = nn.Linear(inputs, config.width)
        self.inner = nn.ModuleList(
            nn.Linear(config.width, config.feedforward_size) for _ in range(config.layers)
        )
        self.outer = nn.ModuleList(
            nn.Linear(config.feedforward_size, config.width) for _ in range(config.layers)
        )
        self.project = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (..., D_in) one by one; `time` is not used, `rng` drives dropout."""
        x = F.leaky_relu(self.input(tokens))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            hidden = dropout(F.leaky_relu(inner(x)), self.rate, rng)
            x = x + dropout(F.leaky_relu(outer(hidden)), self.rate, rng)
        states: Tensor = self.norm(self.project(x))
        return states

    def initial_memory(self, rows: int, device: torch.device) -> HiddenState:
        """A memory that holds nothing but the count of timesteps."""
        steps = torch.zeros(rows, dtype=torch.int64, device=device)
        return HiddenState(torch.zeros(0, rows, 0, device=device), steps)

    def step(self, tokens: Tensor, memory: HiddenState) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in)."""
        states = self(tokens, memory.steps, None)
        memory.steps += 1
        return states
