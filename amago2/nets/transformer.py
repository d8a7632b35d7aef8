"""The trajectory encoder: a causal Transformer with NormFormer's extra norms (paper, App. A).

x <- x + LN2(Attention(LN1(x)));  x <- x + Dropout(FF2(LN4(leaky_relu(FF1(LN3(x))))))
with sigma-reparametrised linear layers, a learned scale per head, and sinusoidal positions counted
from the start of the rollout. `forward` reads whole sequences, `step` one timestep with a
key/value cache; the two agree for rollouts up to the context length.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.config import TransformerTrajectory


class SigmaLinear(nn.Module):
    """y = x W'^T + b with W' = (g / sigma(W)) W, sigma the largest singular value.

    sigma is tracked by one power iteration per training call (Zhai et al. 2023). In evaluation
    mode W' is computed once, when the mode is entered.
    """

    left: Tensor
    right: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        weight = nn.init.trunc_normal_(torch.empty(outputs, inputs), std=0.02)
        u, _, vh = torch.linalg.svd(weight, full_matrices=False)
        self.weight = nn.Parameter(weight)
        self.gain = nn.Parameter(torch.ones(()))
        bound = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None
        self.register_buffer("left", u[:, 0].contiguous())
        self.register_buffer("right", vh[0].contiguous())
        self._fixed: Tensor | None = None

    def train(self, mode: bool = True) -> "SigmaLinear":
        """Enter training or evaluation mode; the latter fixes W'."""
        super().train(mode)
        with torch.no_grad():
            self._fixed = None if mode else self.effective_weight()
        return self

    def effective_weight(self) -> Tensor:
        """W' (outputs, inputs); gradients flow through W inside sigma, not through u and v."""
        sigma = self.left @ (self.weight @ self.right)
        return self.weight * (self.gain / sigma)

    @torch.no_grad()
    def _power_iteration(self) -> None:
        self.left.copy_(F.normalize(self.weight @ self.right, dim=0))
        self.right.copy_(F.normalize(self.weight.T @ self.left, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> (..., outputs)."""
        if self.training:
            self._power_iteration()
        weight = self.effective_weight() if self._fixed is None else self._fixed
        return F.linear(x, weight, self.bias)


def dropout(x: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Inverted dropout from an explicit generator; none without one."""
    if rng is None or rate == 0:
        return x
    keep = torch.empty(x.shape, dtype=x.dtype, device=rng.device).bernoulli_(
        1 - rate, generator=rng
    )
    return x * keep.to(x.device) / (1 - rate)


def positions(time: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (..., width) of integer timesteps (...): sin even, cos odd channels."""
    even = torch.arange(0, width, 2, device=time.device, dtype=torch.float32)
    angle = time.unsqueeze(-1).float() * torch.exp(-math.log(10000.0) * even / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


@dataclass
class KeyValueCache:
    """Keys and values of the last `context` timesteps of N rollouts, as rings.

    keys, values: (layers, N, H, context, D / H); steps: (N,) timesteps seen since the reset.
    """

    keys: Tensor
    values: Tensor
    steps: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout. What its slots hold is masked until it is overwritten."""
        self.steps[row] = 0

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"keys": self.keys, "values": self.values, "steps": self.steps}


class Block(nn.Module):
    """One Transformer block."""

    def __init__(self, config: TransformerTrajectory) -> None:
        super().__init__()
        width, hidden = config.width, config.feedforward
        self.heads, self.rate = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm3, self.norm4 = nn.LayerNorm(width), nn.LayerNorm(hidden)
        self.qkv = SigmaLinear(width, 3 * width, bias=False)
        self.out = SigmaLinear(width, width)
        self.ff1, self.ff2 = SigmaLinear(width, hidden), SigmaLinear(hidden, width)
        self.head_scale = nn.Parameter(torch.ones(config.heads, 1, 1))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (N, H, L, D / H) of x (N, L, D)."""
        n, length, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor, rng: torch.Generator | None) -> Tensor:
        """The rest of the block: x (N, L, D), attended (N, H, L, D / H) -> (N, L, D)."""
        merged = (attended * self.head_scale).transpose(1, 2).flatten(2)
        x = x + self.norm2(self.out(merged))
        hidden = self.norm4(F.leaky_relu(self.ff1(self.norm3(x))))
        return x + dropout(self.ff2(hidden), self.rate, rng)

    def forward(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        """x (B, L, D) -> (B, L, D), causal."""
        q, k, v = self.split(x)
        return self.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True), rng)

    def step(self, x: Tensor, keys: Tensor, values: Tensor, slot: Tensor, seen: Tensor) -> Tensor:
        """x (N, 1, D) -> (N, 1, D), writing slot (N,) of keys, values (N, H, S, D / H).

        `seen` (N, 1, 1, S) bool marks the slots to attend to, the current one included.
        """
        q, k, v = self.split(x)
        rows = torch.arange(len(x), device=x.device)
        keys[rows, :, slot], values[rows, :, slot] = k[:, :, 0], v[:, :, 0]
        view = seen.shape[-1]
        scores = q @ keys[:, :, :view].transpose(-1, -2) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return self.finish(x, weights @ values[:, :, :view], None)


class Transformer(nn.Module):
    """Timestep vectors (B, L, D_in) -> memory-aware states (B, L, D)."""

    def __init__(self, inputs: int, config: TransformerTrajectory) -> None:
        super().__init__()
        self.config = config
        self.output = config.width
        self.input = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def _embed(self, tokens: Tensor, time: Tensor) -> Tensor:
        embedded: Tensor = self.input(tokens)
        return embedded + positions(time, self.config.width)

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (B, L, D_in) at times (B, L); `rng` drives dropout, None means none."""
        x = dropout(self._embed(tokens, time), self.config.dropout, rng)
        for block in self.blocks:
            x = block(x, rng)
        states: Tensor = self.norm(x)
        return states

    def initial_memory(self, rows: int, device: torch.device) -> KeyValueCache:
        """Empty memory of `rows` rollouts."""
        c = self.config
        shape = (c.layers, rows, c.heads, c.context, c.width // c.heads)
        steps = torch.zeros(rows, dtype=torch.int64, device=device)
        return KeyValueCache(
            torch.zeros(shape, device=device), torch.zeros(shape, device=device), steps
        )

    def step(self, tokens: Tensor, memory: KeyValueCache) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        context = self.config.context
        slot = memory.steps % context
        filled = (memory.steps + 1).clamp(max=context)
        longest = int(filled.max())
        seen = torch.arange(longest, device=slot.device) < filled.unsqueeze(1)
        x = self._embed(tokens, memory.steps).unsqueeze(1)
        for block, keys, values in zip(self.blocks, memory.keys, memory.values, strict=True):
            x = block.step(x, keys, values, slot, seen[:, None, None])  # type: ignore[operator]
        memory.steps += 1
        states: Tensor = self.norm(x.squeeze(1))
        return states
