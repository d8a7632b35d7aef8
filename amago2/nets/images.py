"""Convolutional trunks and the random-shift augmentation of DrQ-v2.

Images come as (F, height, width, channels) and are read in that layout; F counts frames.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.precision import as_factor

PAD = 4
CLEAN_SHARE = 0.25
"""Share of a batch's sub-sequences that the augmentation leaves alone."""


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Pad (F, H, W, C) by replicated pixels and crop each frame at its offset (2, F), in pixels.

    The offsets are whole, so the bilinear resampling of the published code is a plain crop.
    """
    frames, height, width, _ = images.shape
    down, right = offsets.unsqueeze(2)
    rows = (torch.arange(height, device=images.device) + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right).clamp(0, width - 1)
    rows = rows + height * torch.arange(frames, device=images.device).unsqueeze(1)
    pixels = rows.unsqueeze(2) * width + columns.unsqueeze(1)  # (F, H, W)
    return images.flatten(0, 2).index_select(0, pixels.flatten()).view(images.shape)


def augment(images: Tensor, sequence: Tensor, batch: int, rng: torch.Generator) -> Tensor:
    """Shift each of the frames (F, H, W, C) by up to `PAD` pixels, but those of the first quarter
    of the batch's sub-sequences.

    `sequence` (F,) says which of the `batch` sub-sequences a frame belongs to.
    """
    clean = min(math.ceil(CLEAN_SHARE * batch), batch - 1)
    offsets = torch.randint(-PAD, PAD + 1, (2, len(images)), generator=rng, device=rng.device)
    return shifted(images, offsets.to(images.device) * (sequence >= clean))


def scaled(images: Tensor) -> Tensor:
    """Bytes (F, H, W, C) -> (F, C, H, W) in [-1, 1), channels last in memory; bfloat16 holds them
    exactly."""
    return (as_factor(images) / 128).sub_(1).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """GroupNorm(x + conv(act(conv(act(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (F, C, H, W) -> the same shape."""
        hidden = self.conv1(F.leaky_relu(x))
        summed = x + self.conv2(F.leaky_relu(hidden))
        if summed.is_cuda or summed.dtype == torch.float32:
            normed: Tensor = self.norm(summed)
            return normed
        # With channels last, a bfloat16 norm takes five times as long on a CPU; the rest does not.
        if summed.requires_grad:
            summed.register_hook(_channels_last)
        return _channels_last(self.norm(summed.contiguous()))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def impala(channels: int, depths: Sequence[int]) -> nn.Sequential:
    """Blocks of convolution, max-pooling and two residual units (Espeholt et al. 2018)."""
    layers: list[nn.Module] = []
    for depth in depths:
        layers += [nn.Conv2d(channels, depth, 3, padding=1), nn.MaxPool2d(3, 2)]
        layers += [Residual(depth), Residual(depth)]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


def nature(channels: int) -> nn.Sequential:
    """Three strided convolutions (Mnih et al. 2015), delta-orthogonal at the start."""
    layers: list[nn.Module] = []
    for depth, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        conv = nn.Conv2d(channels, depth, kernel, stride)
        _delta_orthogonal(conv)
        layers += [conv, nn.LeakyReLU()]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


@torch.no_grad()
def _delta_orthogonal(conv: nn.Conv2d) -> None:
    """All weights zero but an orthogonal matrix at the kernel's centre."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    centre = conv.kernel_size[0] // 2
    gain = nn.init.calculate_gain("leaky_relu")
    nn.init.orthogonal_(matrix := torch.empty(conv.out_channels, conv.in_channels), gain)
    conv.weight[:, :, centre, centre] = matrix


def grid(channels: int) -> nn.Sequential:
    """Three 2x2 convolutions for small symbolic grids."""
    layers: list[nn.Module] = []
    for depth in (16, 32, 48):
        layers += [nn.Conv2d(channels, depth, 2), nn.LeakyReLU()]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


def features(trunk: nn.Module, shape: Sequence[int]) -> int:
    """Outputs of a trunk for images of (height, width, channels)."""
    with torch.no_grad():
        return int(trunk(scaled(torch.zeros(1, *shape))).shape[1])
