"""The paper's trajectory encoder: a causal Transformer with NormFormer's extra norms (App. A).

x <- x + LN2(Attention(LN1(x)));  x <- x + Dropout(FF2(LN4(leaky_relu(FF1(LN3(x))))))
with sigma-reparametrised linear layers, a learned scale per head, and sinusoidal positions counted
from the start of the rollout. `forward` reads whole sequences, `step` one timestep with a key-value
cache; the two agree for rollouts up to the context length.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amago2.config.schema import TransformerConfig
from amago2.nets.attention import causal_attention, frequencies, positions
from amago2.nets.dropout import dropout_scales
from amago2.nets.inference_weights import LinearWeights, NormWeights, WithInferenceWeights
from amago2.nets.key_value_cache import KeyValueCache, LayerWindow
from amago2.nets.sigma_linear import SigmaLinear, training_weights
from amago2.nets.transfer import to_device


class BlockWeights(NamedTuple):
    """All that a block multiplies by, as plain tensors: acting steps call no module."""

    norm1: NormWeights
    qkv: LinearWeights
    head_scale: Tensor
    out: LinearWeights
    norm2: NormWeights
    norm3: NormWeights
    ff1: LinearWeights
    norm4: NormWeights
    ff2: LinearWeights

    def for_inference(self, bfloat16: bool) -> "BlockWeights":
        """Weights for `step`: heads come first in qkv, and products include all scales."""
        heads, (qkv, _), (out, bias) = len(self.head_scale), self.qkv, self.out
        width = len(out)
        by_head = qkv.view(3, heads, -1, width).transpose(0, 1).clone()
        by_head[:, 0] *= (width / heads) ** -0.5
        scale = self.head_scale.flatten().repeat_interleave(width // heads)
        return self._replace(
            qkv=LinearWeights(by_head.flatten(0, 2), None).for_inference(bfloat16),
            out=LinearWeights(out * scale, bias).for_inference(bfloat16),
            ff1=self.ff1.for_inference(bfloat16),
            ff2=self.ff2.for_inference(bfloat16),
        )


class Block(nn.Module):
    """One Transformer block."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.feedforward_size
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm3, self.norm4 = nn.LayerNorm(width), nn.LayerNorm(hidden)
        self.qkv = SigmaLinear(width, 3 * width, bias=False)
        self.out = SigmaLinear(width, width)
        self.ff1, self.ff2 = SigmaLinear(width, hidden), SigmaLinear(hidden, width)
        self.head_scale = nn.Parameter(torch.ones(config.heads, 1, 1))

    def sigma_layers(self) -> list[SigmaLinear]:
        """Its sigma-reparametrised layers, in the order of their use."""
        return [self.qkv, self.out, self.ff1, self.ff2]

    def weights(self, linear: Sequence[LinearWeights]) -> BlockWeights:
        """The present weights, of which `linear` are those of `sigma_layers`."""
        one, two, three, four = (
            NormWeights(norm.weight, norm.bias)
            for norm in (self.norm1, self.norm2, self.norm3, self.norm4)
        )
        qkv, out, ff1, ff2 = linear
        return BlockWeights(one, qkv, self.head_scale, out, two, three, ff1, four, ff2)

    def forward(self, x: Tensor, w: BlockWeights, keep: Tensor | None) -> Tensor:
        """x (B, L, D) -> (B, L, D), causal; `keep` (B, L, D) is the dropout's factor."""
        batch, length, _ = x.shape
        qkv = w.qkv.apply(w.norm1.apply(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = (each.transpose(1, 2) for each in qkv.unbind(2))
        attended = causal_attention(q, k, v)
        merged = (attended * w.head_scale).transpose(1, 2).flatten(2)
        x, change = _after_attention(x, merged, w)
        return x + (change if keep is None else change * keep)


def _after_attention(x: Tensor, merged: Tensor, w: BlockWeights) -> tuple[Tensor, Tensor]:
    """The rest of a block after attention, for x (..., D) and the joined heads `merged` (..., D).

    Returns the new x and what the feed-forward layers add to it.
    """
    x = x + w.norm2.apply(w.out.apply(merged))
    hidden = w.ff1.apply_leaky_relu(w.norm3.apply(x))
    return x, w.ff2.apply(w.norm4.apply(hidden))


def _block_step(w: BlockWeights, x: Tensor, at: LayerWindow, unseen: Tensor | None) -> Tensor:
    """A block on one timestep x (N, D) -> (N, D), which writes its keys and values."""
    keys, values, written = at
    qkv = w.qkv.apply(w.norm1.apply(x)).view(len(keys), 3, -1).transpose(0, 1)
    written.copy_(qkv[1:])
    # A row times a matrix: a matrix times a column takes four times as long.
    scores = torch.bmm(qkv[0].unsqueeze(1), keys.transpose(1, 2))
    if unseen is not None:
        scores.masked_fill_(unseen, -torch.inf)
    x, change = _after_attention(x, torch.bmm(scores.softmax(-1), values).view(x.shape), w)
    return x + change


class Transformer(WithInferenceWeights):
    """Timestep vectors (B, L, D_in) -> states (B, L, D) that remember the timesteps before."""

    frequencies: Tensor

    def __init__(self, inputs: int, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.output = config.width
        self.input = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.register_buffer("frequencies", frequencies(config.width), persistent=False)
        self._position_table: Tensor | None = None
        self._held: list[BlockWeights] | None = None

    def forward(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """Encode tokens (B, L, D_in) at times (B, L); `rng` drives dropout, None means none."""
        return self.encode(tokens, time, self.dropout_scales(tokens, rng))

    def dropout_scales(self, tokens: Tensor, rng: torch.Generator | None) -> Tensor | None:
        """Factors (1 + layers, B, L, D) of all dropouts for tokens (B, L, D_in)."""
        like = tokens.new_empty(*tokens.shape[:2], self.output, dtype=torch.float32)
        return dropout_scales(like, self.config.dropout, rng, 1 + len(self.blocks))

    def encode(self, tokens: Tensor, time: Tensor, keep: Tensor | None = None) -> Tensor:
        """As `forward`, with given `dropout_scales`."""
        first, *keeps = [None] * (1 + len(self.blocks)) if keep is None else keep.unbind()
        x = self.input(tokens) + positions(time, self.frequencies)
        x = x if first is None else x * first
        for block, weights, own in zip(self.blocks, self._block_weights(), keeps, strict=True):
            x = block(x, weights, own)
        states: Tensor = self.norm(x)
        return states

    @contextmanager
    def same_weights(self) -> Iterator[None]:
        """Derive the blocks' weights once, by one power iteration, for several forward passes."""
        self._held = self._block_weights()
        try:
            yield
        finally:
            self._held = None

    def _block_weights(self) -> list[BlockWeights]:
        if self._held is not None:
            return self._held
        blocks: list[Block] = list(self.blocks)  # type: ignore[arg-type]  # a ModuleList knows Modules
        layers = [layer for block in blocks for layer in block.sigma_layers()]
        linear = training_weights(layers) if self.training else [each.linear() for each in layers]
        count = len(layers) // len(blocks)
        return [block.weights(linear[count * i :][:count]) for i, block in enumerate(blocks)]

    def initial_memory(self, rows: int, device: torch.device) -> KeyValueCache:
        """Empty memory of `rows` rollouts."""
        c = self.config
        room = c.context_length + max(16, c.context_length // 4)
        shape = (c.layers, 2, rows * c.heads, room, c.width // c.heads)
        steps, end = torch.zeros(rows, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        return KeyValueCache(c.context_length, torch.zeros(shape, device=device), steps, end)

    def inference_weights(self) -> tuple[LinearWeights, list[BlockWeights], NormWeights]:
        """What `step` multiplies by: before, in and after the blocks."""
        half = self.bfloat16_inference
        blocks = [weights.for_inference(half) for weights in self._block_weights()]
        first = LinearWeights(self.input.weight, self.input.bias).for_inference(half)
        return first, blocks, NormWeights(self.norm.weight, self.norm.bias)

    def step(self, tokens: Tensor, memory: KeyValueCache) -> Tensor:
        """States (N, D) of the next timestep's tokens (N, D_in); advances `memory` in place."""
        first, blocks, last = self.cached or self.inference_weights()
        x = first.apply(tokens) + self._positions(memory.steps)
        layers, unseen = memory.next()
        for w, at in zip(blocks, layers, strict=True):
            x = _block_step(w, x, at, unseen)
        states: Tensor = last.apply(x)
        return states

    def _positions(self, time: Tensor) -> Tensor:
        """`positions` of times (N,) on the CPU, from a table that grows on demand."""
        longest, device, table = max(time.tolist()), self.frequencies.device, self._position_table
        if table is None or len(table) <= longest or table.device != device:
            times = torch.arange(2 * max(longest, self.config.context_length), device=device)
            self._position_table = table = positions(times, self.frequencies)
        return table.index_select(0, to_device(time, device))
