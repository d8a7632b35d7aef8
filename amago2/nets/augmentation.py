"""Random shifts of image observations (DrQ-v2, Yarats et al. 2022).

Images come as (F, height, width, channels); F counts frames.
"""

import math

import torch
from torch import Tensor

PAD = 4
"""Pixels by which an image is shifted at most."""
UNSHIFTED_SHARE = 0.25
"""Share of a batch's sub-sequences that the augmentation leaves alone."""


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Pad images (F, H, W, C) by replicated pixels and crop each at its offset (2, F), in pixels.

    Offsets are whole numbers, so the published code's bilinear resampling is a plain crop.
    """
    frames, height, width, _ = images.shape
    down, right = offsets.unsqueeze(2)
    rows = (torch.arange(height, device=images.device) + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right).clamp(0, width - 1)
    rows = rows + height * torch.arange(frames, device=images.device).unsqueeze(1)
    pixels = rows.unsqueeze(2) * width + columns.unsqueeze(1)  # (F, H, W)
    return images.flatten(0, 2).index_select(0, pixels.flatten()).view(images.shape)


def random_shift(images: Tensor, sequence: Tensor, batch: int, rng: torch.Generator) -> Tensor:
    """Shift each of the frames (F, H, W, C) by up to `PAD` pixels in both directions.

    `sequence` (F,) says to which of the `batch` sub-sequences a frame belongs; the frames of the
    first quarter of them stay as they are.
    """
    unshifted = min(math.ceil(UNSHIFTED_SHARE * batch), batch - 1)
    offsets = torch.randint(-PAD, PAD + 1, (2, len(images)), generator=rng, device=rng.device)
    return shift(images, offsets.to(images.device) * (sequence >= unshifted))
