"""Other trajectory encoders: a GRU, and none at all (feed-forward, without memory)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.config.schema import FeedForwardConfig, GruConfig
from amago2.nets.precision import unrolled
from amago2.nets.transformer import dropout


@dataclass
class HiddenState:
    """State of N rollouts: hidden (layers, N, D); steps (N,) timesteps since the reset."""

    hidden: Tensor
    steps: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout."""
        self.steps[row] = 0
        self.hidden[:, row] = 0

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"hidden": self.hidden, "steps": self.steps}


class Gru(nn.Module):
    """Timestep vectors (B, L, D_in) -> GRU -> Linear -> LayerNorm (B, L, D)."""

    def __init__(self, inputs: int, config: GruConfig) -> None:
        super().__init__()
        self.output = config.width
        self.layers = config.layers
        self.gru = nn.GRU(inputs, config.width, config.layers, batch_first=True)
        self.project = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (B, L, D_in); the hidden state starts empty, `time` is not used."""
        return self.unroll(tokens, None)

    def unroll(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        """Encode tokens (B, L, D_in), going on from hidden (layers, B, D) if there is one."""
        states: Tensor = self.norm(self.project(unrolled(self.gru, tokens, hidden)[0]))
        return states

    def initial_memory(self, rows: int, device: torch.device) -> HiddenState:
        """Empty memory of `rows` rollouts."""
        return HiddenState(
            torch.zeros(self.layers, rows, self.output, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
        )

    def step(self, tokens: Tensor, memory: HiddenState) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        out, hidden = unrolled(self.gru, tokens.unsqueeze(1), memory.hidden)
        memory.hidden.copy_(hidden)
        memory.steps += 1
        states: Tensor = self.norm(self.project(out.squeeze(1)))
        return states


class MemoryFree(nn.Module):
    """Residual feed-forward blocks on each timestep alone: what the agent is without memory."""

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
        """Encode tokens (..., D_in) one by one; `time` is not used."""
        x = F.leaky_relu(self.input(tokens))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            hidden = dropout(F.leaky_relu(inner(x)), self.rate, rng)
            x = x + dropout(F.leaky_relu(outer(hidden)), self.rate, rng)
        states: Tensor = self.norm(self.project(x))
        return states

    def initial_memory(self, rows: int, device: torch.device) -> HiddenState:
        """A memory that only counts."""
        steps = torch.zeros(rows, dtype=torch.int64, device=device)
        return HiddenState(torch.zeros(0, rows, 0, device=device), steps)

    def step(self, tokens: Tensor, memory: HiddenState) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in)."""
        states = self(tokens, memory.steps, None)
        memory.steps += 1
        return states
