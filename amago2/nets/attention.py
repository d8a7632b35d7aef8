"""Causal attention over whole sequences, and the sinusoidal positions added to its input."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 64
"""Queries of a block."""
LONGEST_IN_BLOCKS = 512
"""Length up to which sequences are computed in blocks: the backward pass keeps probabilities."""


def frequencies(width: int) -> Tensor:
    """Angular frequencies (width / 2,) of the position embedding."""
    even = torch.arange(0, width, 2, dtype=torch.float32)
    return torch.exp(-math.log(10000.0) * even / width)


def positions(time: Tensor, frequency: Tensor) -> Tensor:
    """Sinusoidal embedding (..., D) of integer timesteps (...): sin even, cos odd channels."""
    angle = time.unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of queries, keys and values (B, H, L, D / H).

    On a CPU, the fused kernel's bfloat16 gradients take up to three times as long as its float32
    ones, and those half as long again as products of blocks.
    """
    if q.is_cuda or q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if q.shape[2] <= LONGEST_IN_BLOCKS:
        return attention_in_blocks(*(x.flatten(0, 1) for x in (q, k, v))).view(q.shape)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)


def attention_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (B * H, L, D / H), one block of queries and all keys up to it at a time.

    Softmax itself is computed in float32, whatever the type of its input.
    """
    q = q / math.sqrt(q.shape[-1])
    future = torch.full((BLOCK, BLOCK), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    attended = []
    for start, block in zip(range(0, q.shape[1], BLOCK), q.split(BLOCK, 1), strict=True):
        size = block.shape[1]
        scores = block @ k[:, : start + size].transpose(1, 2)
        scores[:, :, start:] += future[:size, :size]
        attended.append(scores.softmax(-1) @ v[:, : start + size])
    return torch.cat(attended, 1)
