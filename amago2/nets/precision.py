"""The number type in which matrix products and recurrent layers are computed."""

import torch
from torch import Tensor, nn


def autocast_input(x: Tensor) -> Tensor:
    """`x` in the type that autocast gives the inputs of a product: float32, or bfloat16 if on."""
    device = x.device.type
    half = torch.is_autocast_enabled(device)
    return x.to(torch.get_autocast_dtype(device) if half else torch.float32)


def run_rnn(rnn: nn.RNNBase, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, D) and last hidden state (layers, B, D) of x (B, L, D_in).

    Always float32 on CUDA: under autocast, cuDNN would compute in float16 whatever type is set.
    """
    if not x.is_cuda:
        return rnn(x, hidden)
    with torch.autocast("cuda", enabled=False):
        return rnn(x.float(), hidden)
