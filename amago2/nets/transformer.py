"""The trajectory encoder: a causal Transformer with NormFormer's extra norms (paper, App. A).

x <- x + LN2(Attention(LN1(x)));  x <- x + Dropout(FF2(LN4(leaky_relu(FF1(LN3(x))))))
with sigma-reparametrised linear layers, a learned scale per head, and sinusoidal positions counted
from the start of the rollout. `forward` reads whole sequences, `step` one timestep with a
key/value cache; the two agree for rollouts up to the context length.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.config.schema import TransformerConfig
from amago2.nets.precision import Affine, Fixing


class SigmaLinear(nn.Module):
    """y = x W'^T + b with W' = (g / sigma(W)) W, sigma the largest singular value.

    sigma is tracked by one power iteration per training call (Zhai et al. 2023).
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

    def effective_weight(self) -> Tensor:
        """W' (outputs, inputs); gradients flow through W inside sigma, not through u and v."""
        sigma = self.left @ (self.weight @ self.right)
        return self.weight * (self.gain / sigma)

    @torch.no_grad()
    def _power_iteration(self) -> None:
        self.left.copy_(F.normalize(self.weight @ self.right, dim=0))
        self.right.copy_(F.normalize(self.weight.T @ self.left, dim=0))

    def affine(self) -> "Affine":
        """W' and b, after a power iteration where the layer is training."""
        if self.training:
            self._power_iteration()
        return Affine(self.effective_weight(), self.bias)


def _norm(x: Tensor, affine: Affine) -> Tensor:
    return torch.layer_norm(x, affine.weight.shape, *affine)


def dropout(x: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Inverted dropout from an explicit generator; none without one.

    A 64-bit draw decides on four elements, so `rate` is rounded to a multiple of 2^-16.
    """
    if rng is None or rate == 0:
        return x
    dropped = round(rate * 2**16)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=rng.device)
    bits = draws.random_(-(2**63), None, generator=rng).view(torch.int16)[: x.numel()]
    keep = (bits >= dropped - 2**15).view(x.shape).to(x.device, x.dtype)
    return x * (keep / (1 - dropped / 2**16))


def frequencies(width: int) -> Tensor:
    """Angular frequencies (width / 2,) of the position embedding."""
    even = torch.arange(0, width, 2, dtype=torch.float32)
    return torch.exp(-math.log(10000.0) * even / width)


def positions(time: Tensor, frequency: Tensor) -> Tensor:
    """Sinusoidal embedding (..., D) of integer timesteps (...): sin even, cos odd channels."""
    angle = time.unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


BLOCK, LONGEST_IN_BLOCKS = 64, 512
"""Queries of a block, and how long sequences may be whose probabilities are kept for backward."""


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (N, H, L, D / H).

    The fused kernel's bfloat16 gradients take up to three times as long as its float32 ones on a
    CPU, and those half as long again as products of blocks.
    """
    if q.is_cuda or q.dtype == torch.float32:
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return _repeatable(attended) if q.is_cuda else attended
    if q.shape[2] <= LONGEST_IN_BLOCKS:
        return _attend_in_blocks(*(x.flatten(0, 1) for x in (q, k, v))).view(q.shape)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)


def _repeatable(x: Tensor) -> Tensor:
    """`x`, whose own backward operation is strictly deterministic where runs are only mostly so.

    On CUDA runs are told of operations without a deterministic form, not stopped. Then the fused
    attention sums its gradients in order of arrival, though it has such a form.
    """
    if x.grad_fn is not None and torch.is_deterministic_algorithms_warn_only_enabled():
        x.grad_fn.register_prehook(lambda *_: torch.use_deterministic_algorithms(True))
        x.grad_fn.register_hook(lambda *_: torch.use_deterministic_algorithms(True, warn_only=True))
    return x


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (N * H, L, D / H), a block of queries with all keys before it at a time.

    Softmax itself is computed in float32, whatever the type of its input.
    """
    q = q / math.sqrt(q.shape[-1])
    future = torch.full((BLOCK, BLOCK), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    attended = []
    for start, part in zip(range(0, q.shape[1], BLOCK), q.split(BLOCK, 1), strict=True):
        size = part.shape[1]
        scores = part @ k[:, : start + size].transpose(1, 2)
        scores[:, :, start:] += future[:size, :size]
        attended.append(scores.softmax(-1) @ v[:, : start + size])
    return torch.cat(attended, 1)


class Window(NamedTuple):
    """Entries that a timestep reads, `start` to `end`, the last of which it writes.

    `unseen` (N * H, 1, end - start) marks those that a rollout does not attend to, if any.
    """

    start: int
    end: int
    unseen: Tensor | None


@dataclass
class KeyValueCache:
    """Keys and values of the last `context` timesteps of N rollouts.

    entries: (layers, 2, N * H, room, D / H). The latest timestep of all rollouts is left of `end`;
    there is more room than context, so that the entries need to move to the left but rarely.
    steps (N,) int64, timesteps seen since the reset, and end (1,) int64 are on the CPU.
    """

    context: int
    entries: Tensor
    steps: Tensor
    end: Tensor

    def reset(self, row: int) -> None:
        """Forget a rollout. Its entries are not attended to from now on."""
        self.steps[row] = 0

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"entries": self.entries, "steps": self.steps, "end": self.end}

    def next(self) -> Window:
        """Make room for one more timestep, and say where it is."""
        ends, steps = self.end.numpy(), self.steps.numpy()
        steps += 1
        counts = steps.tolist()  # for few rollouts, shorter work than NumPy's
        longest, unseen = min(max(counts), self.context), None
        end = int(ends[0])
        if end == self.entries.shape[3]:
            kept = self.entries[..., end - longest + 1 :, :].clone()
            end = longest - 1
            self.entries[..., :end, :] = kept
        ends[0] = end + 1
        if min(counts) < longest:
            mask = np.arange(longest) < (longest - steps)[:, None]
            by_head = mask.repeat(self.entries.shape[2] // len(mask), 0)[:, None]
            unseen = torch.from_numpy(by_head).to(self.entries.device)
        return Window(end + 1 - longest, end + 1, unseen)


class Weights(NamedTuple):
    """All that a block multiplies by: plain tensors, since a step of few actors is short work."""

    norm1: Affine
    qkv: Affine
    head_scale: Tensor
    out: Affine
    norm2: Affine
    norm3: Affine
    ff1: Affine
    norm4: Affine
    ff2: Affine

    def fixed(self, half: bool) -> "Weights":
        """For `step`: heads come first in qkv, scales are in the products; perhaps in bfloat16."""
        heads, (qkv, _), (out, bias) = len(self.head_scale), self.qkv, self.out
        width = len(out)
        by_head = qkv.view(3, heads, -1, width).transpose(0, 1).clone()
        by_head[:, 0] *= (width / heads) ** -0.5
        scale = self.head_scale.flatten().repeat_interleave(width // heads)
        return self._replace(
            qkv=Affine(by_head.flatten(0, 2), None).fixed(half),
            out=Affine(out * scale, bias).fixed(half),
            ff1=self.ff1.fixed(half),
            ff2=self.ff2.fixed(half),
        )


class Block(nn.Module):
    """One Transformer block."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.feedforward_size
        self.heads, self.rate = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm3, self.norm4 = nn.LayerNorm(width), nn.LayerNorm(hidden)
        self.qkv = SigmaLinear(width, 3 * width, bias=False)
        self.out = SigmaLinear(width, width)
        self.ff1, self.ff2 = SigmaLinear(width, hidden), SigmaLinear(hidden, width)
        self.head_scale = nn.Parameter(torch.ones(config.heads, 1, 1))

    def weights(self) -> Weights:
        """The present weights."""
        one, two, three, four = (
            Affine(norm.weight, norm.bias)
            for norm in (self.norm1, self.norm2, self.norm3, self.norm4)
        )
        qkv, out = self.qkv.affine(), self.out.affine()
        ff1, ff2 = self.ff1.affine(), self.ff2.affine()
        return Weights(one, qkv, self.head_scale, out, two, three, ff1, four, ff2)

    def forward(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        """x (B, L, D) -> (B, L, D), causal."""
        w = self.weights()
        n, length, _ = x.shape
        qkv = w.qkv.of(_norm(x, w.norm1)).view(n, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        attended = _attend(q, k, v)
        x, change = _finish(x, (attended * w.head_scale).transpose(1, 2).flatten(2), w)
        return x + dropout(change, self.rate, rng)


def _finish(x: Tensor, merged: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """The rest of a block, for x (..., D) and the scaled heads joined (..., D): x, what to add."""
    x = x + _norm(w.out.of(merged), w.norm2)
    hidden = w.ff1.activated(_norm(x, w.norm3))
    return x, w.ff2.of(_norm(hidden, w.norm4))


def _step(w: Weights, x: Tensor, entries: Tensor, at: Window) -> Tensor:
    """A block's x (N, D) -> (N, D), writing one of its entries (2, N * H, room, D / H)."""
    qkv = w.qkv.of(_norm(x, w.norm1)).view(entries.shape[1], 3, -1).transpose(0, 1)
    entries.select(2, at.end - 1).copy_(qkv[1:])
    keys, values = entries.narrow(2, at.start, at.end - at.start).unbind()
    # A row times a matrix: a matrix times a column takes four times as long.
    scores = torch.bmm(qkv[0].unsqueeze(1), keys.transpose(1, 2))
    if at.unseen is not None:
        scores.masked_fill_(at.unseen, -torch.inf)
    x, change = _finish(x, torch.bmm(scores.softmax(-1), values).view(x.shape), w)
    return x + change


class Transformer(Fixing):
    """Timestep vectors (B, L, D_in) -> memory-aware states (B, L, D)."""

    frequencies: Tensor

    def __init__(self, inputs: int, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.output = config.width
        self.input = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.register_buffer("frequencies", frequencies(config.width), persistent=False)
        self._table: Tensor | None = None

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (B, L, D_in) at times (B, L); `rng` drives dropout, None means none."""
        x = self.input(tokens) + positions(time, self.frequencies)
        x = dropout(x, self.config.dropout, rng)
        for block in self.blocks:
            x = block(x, rng)
        states: Tensor = self.norm(x)
        return states

    def initial_memory(self, rows: int, device: torch.device) -> KeyValueCache:
        """Empty memory of `rows` rollouts."""
        c = self.config
        room = c.context_length + max(16, c.context_length // 4)
        shape = (c.layers, 2, rows * c.heads, room, c.width // c.heads)
        steps, end = torch.zeros(rows, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        return KeyValueCache(c.context_length, torch.zeros(shape, device=device), steps, end)

    def fixed(self) -> tuple[Affine, list[Weights], Affine]:
        """What `step` multiplies by: before, in and after the blocks."""
        blocks = [block.weights().fixed(self.rounded) for block in self.blocks]  # type: ignore[operator]
        first, last = (Affine(layer.weight, layer.bias) for layer in (self.input, self.norm))
        return first.fixed(self.rounded), blocks, last

    def step(self, tokens: Tensor, memory: KeyValueCache) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        first, blocks, last = self._fixed or self.fixed()
        x = first.of(tokens) + self._positions(memory.steps)
        at = memory.next()
        for w, entries in zip(blocks, memory.entries.unbind(), strict=True):
            x = _step(w, x, entries, at)
        return _norm(x, last)

    def _positions(self, time: Tensor) -> Tensor:
        """`positions` of times (N,) on the CPU, from a table that grows."""
        longest, device = max(time.tolist()), self.frequencies.device
        if self._table is None or len(self._table) <= longest or self._table.device != device:
            times = torch.arange(2 * max(longest, self.config.context_length), device=device)
            self._table = positions(times, self.frequencies)
        return self._table.index_select(0, time.to(device))
