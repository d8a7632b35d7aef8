"""A GRU as trajectory encoder, and the memory of encoders that keep one state per rollout."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amago2.config.schema import GruConfig
from amago2.nets.precision import run_rnn


@dataclass
class HiddenState:
    """Memory of N rollouts: hidden (layers, N, D); steps (N,) timesteps since the reset."""

    hidden: Tensor
    steps: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout."""
        self.steps[row] = 0
        self.hidden[:, row] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint; to load them, copy into these."""
        return {"hidden": self.hidden, "steps": self.steps}

    def fits(self, time: Sequence[int]) -> bool:
        """Whether it can be the memory of rollouts of this age."""
        return bool(self.steps.tolist() == list(time))


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
        """Encode tokens (B, L, D_in) from an empty hidden state; `time` is not used."""
        return self.unroll(tokens, None)

    def unroll(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        """Encode tokens (B, L, D_in) from the hidden state (layers, B, D), or from an empty one."""
        states: Tensor = self.norm(self.project(run_rnn(self.gru, tokens, hidden)[0]))
        return states

    def initial_memory(self, rows: int, device: torch.device) -> HiddenState:
        """Empty memory of `rows` rollouts."""
        return HiddenState(
            torch.zeros(self.layers, rows, self.output, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
        )

    def step(self, tokens: Tensor, memory: HiddenState) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        out, hidden = run_rnn(self.gru, tokens.unsqueeze(1), memory.hidden)
        memory.hidden.copy_(hidden)
        memory.steps += 1
        states: Tensor = self.norm(self.project(out.squeeze(1)))
        return states
