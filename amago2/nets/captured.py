"""A Transformer's passes in training as CUDA graphs: one launch each way instead of hundreds.

The shapes of a batch's valid timesteps follow its padding, but the Transformer reads whole
sequences, and nearly all batches have one as long as the context. Its passes over these are
recorded once, with the kernels that they launch anyway, and replayed.
"""

from typing import Any

import torch
from torch import Tensor, nn

from amago2.nets.transformer import Transformer


class _Encode(nn.Module):
    """What is recorded: it has the Transformer's parameters, and takes tensors only."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, *given: Tensor) -> Tensor:
        return self.transformer.encode(*given)


class CapturedTransformer:
    """In training, the same as calling `transformer`. What it returns, the next call overwrites."""

    def __init__(self, transformer: Transformer, batch: int) -> None:
        """Record passes over `batch` whole sequences; nothing else may use the GPU meanwhile.

        Parameters and buffers stay as they are, and are read anew by each replay.
        """
        self.transformer, c = transformer, transformer.config
        device, self.shape = transformer.frequencies.device, (batch, c.context_length + 1)
        tokens = torch.zeros(*self.shape, transformer.input.in_features, device=device)
        given = [tokens.requires_grad_(), torch.zeros(self.shape, dtype=torch.int64, device=device)]
        if c.dropout:
            given.append(torch.ones(1 + c.layers, *self.shape, c.width, device=device))
        before = [buffer.clone() for buffer in transformer.buffers()]
        # Gradients are stored by the stream of the recording; autograd waits for it, and warns.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        self._encode: Any = torch.cuda.make_graphed_callables(_Encode(transformer), (*given,))
        for buffer, value in zip(transformer.buffers(), before, strict=True):
            buffer.copy_(value)

    def __call__(self, tokens: Tensor, time: Tensor, rng: torch.Generator | None) -> Tensor:
        """States (B, L, D) of tokens (B, L, D_in) at times (B, L); `rng` drives dropout."""
        if time.shape != self.shape:
            return self.transformer(tokens, time, rng)
        keep = self.transformer.dropout_scales(tokens, rng)
        given = (tokens, time) if keep is None else (tokens, time, keep)
        states: Tensor = self._encode(*given)
        return states
