"""A trajectory encoder of one's own, and its memory."""

import torch
from torch import Tensor, nn

from amago2.config.networks import OwnTrajectoryEncoderConfig
from amago2.env.importing import make_part
from amago2.errors import ConfigError, RunError
from amago2.nets.recurrent import HiddenState

KEY = "trajectory_encoder.entry_point"


class OwnTrajectoryEncoder(nn.Module):
    """A user's module with `memory_size`, `forward` and `step`: see docs/parts.md."""

    def __init__(self, inputs: int, config: OwnTrajectoryEncoderConfig) -> None:
        """Raises `ConfigError` if it is no such module."""
        super().__init__()
        self.output, self.path = config.width, config.entry_point
        self.inner = make_part(KEY, self.path, config.kwargs, inputs, width=config.width)
        size = getattr(self.inner, "memory_size", None)
        if not isinstance(self.inner, nn.Module) or type(size) is not int or size < 0:
            raise ConfigError(
                f"{KEY} is {self.path!r}, which must make a torch.nn.Module with a whole number "
                "memory_size"
            )
        if not callable(getattr(self.inner, "step", None)):
            raise ConfigError(f"{KEY} is {self.path!r}, which makes a module without step")
        self.memory_size = size

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (B, L, D_in) at times (B, L), from the start of their sub-sequence."""
        return self._checked(self.inner(tokens, time), tokens)

    def initial_memory(self, rows: int, device: torch.device) -> HiddenState:
        """A memory of zeros."""
        steps = torch.zeros(rows, dtype=torch.int64, device=device)
        return HiddenState(torch.zeros(1, rows, self.memory_size, device=device), steps)

    def step(self, tokens: Tensor, memory: HiddenState) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        states, kept = self.inner.step(tokens, memory.hidden[0])
        memory.hidden.copy_(kept.unsqueeze(0))
        memory.steps += 1
        return self._checked(states, tokens)

    def _checked(self, states: Tensor, tokens: Tensor) -> Tensor:
        wanted = (*tokens.shape[:-1], self.output)
        if not isinstance(states, Tensor) or states.shape != wanted:
            shape = tuple(states.shape) if isinstance(states, Tensor) else type(states).__name__
            raise RunError(
                f"{self.path} returned {shape}; it must return a tensor of shape {wanted} "
                f"(trajectory_encoder.width is {self.output})"
            )
        return states.float()
