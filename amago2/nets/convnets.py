"""Convolutional networks for image observations.

Images come as (F, height, width, channels) and are computed on in that memory layout; F counts
frames.
"""

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.env.pictures import channel_bounds, is_bytes
from amago2.env.spaces import Array
from amago2.nets.precision import autocast_input


class ByteScaling(nn.Module):
    """Bytes (F, H, W, C) -> (F, C, H, W) in [-1, 1), channels last in memory.

    bfloat16 holds these values exactly.
    """

    def forward(self, images: Tensor) -> Tensor:
        """images (F, H, W, C) uint8 -> (F, C, H, W)."""
        return (autocast_input(images) / 128).sub_(1).permute(0, 3, 1, 2)


class BoundsScaling(nn.Module):
    """Numbers of any type between bounds of their channel -> [-1, 1]; otherwise as `ByteScaling`.

    The bounds are known from the environment, so they are not among the weights.
    """

    low: Tensor
    width: Tensor

    def __init__(self, low: Array, high: Array) -> None:
        """Lowest and highest number (C,) of each channel; those of a constant one may be equal."""
        super().__init__()
        lowest, highest = (torch.from_numpy(x.astype(np.float64)) for x in (low, high))
        width = highest - lowest
        self.register_buffer("low", lowest.float(), persistent=False)
        self.register_buffer("width", torch.where(width > 0, width, 1).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images (F, H, W, C) -> (F, C, H, W)."""
        scaled = (images.float() - self.low) / self.width * 2 - 1
        return autocast_input(scaled).permute(0, 3, 1, 2)


def pixel_scaling(box: gym.spaces.Box) -> nn.Module:
    """What brings the pictures of a space into a network's range."""
    return ByteScaling() if is_bytes(box) else BoundsScaling(*channel_bounds(box))


class ResidualUnit(nn.Module):
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


def impala_cnn(channels: int, depths: Sequence[int]) -> nn.Sequential:
    """Blocks of convolution, max-pooling and two residual units (Espeholt et al. 2018)."""
    layers: list[nn.Module] = []
    for depth in depths:
        layers += [nn.Conv2d(channels, depth, 3, padding=1), nn.MaxPool2d(3, 2)]
        layers += [ResidualUnit(depth), ResidualUnit(depth)]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


def nature_cnn(channels: int) -> nn.Sequential:
    """Three strided convolutions (Mnih et al. 2015) with delta-orthogonal initialisation."""
    layers: list[nn.Module] = []
    for depth, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        conv = nn.Conv2d(channels, depth, kernel, stride)
        _delta_orthogonal_(conv)
        layers += [conv, nn.LeakyReLU()]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


@torch.no_grad()
def _delta_orthogonal_(conv: nn.Conv2d) -> None:
    """Set all weights to zero but for an orthogonal matrix at the kernel's centre."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    centre = conv.kernel_size[0] // 2
    gain = nn.init.calculate_gain("leaky_relu")
    nn.init.orthogonal_(matrix := torch.empty(conv.out_channels, conv.in_channels), gain)
    conv.weight[:, :, centre, centre] = matrix


def grid_cnn(channels: int) -> nn.Sequential:
    """Three 2x2 convolutions for small symbolic grids."""
    layers: list[nn.Module] = []
    for depth in (16, 32, 48):
        layers += [nn.Conv2d(channels, depth, 2), nn.LeakyReLU()]
        channels = depth
    return nn.Sequential(*layers, nn.Flatten())


def output_size(network: nn.Module, shape: Sequence[int]) -> int:
    """Outputs of a convolutional network for one image of shape (height, width, channels)."""
    with torch.no_grad():
        return int(network(torch.zeros(1, shape[2], *shape[:2])).shape[1])


def least_side(network: nn.Sequential) -> int:
    """Pixels that a side of an image must have for the network to have any output."""
    side = 1
    for layer in reversed(network):
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, stride, padding = (
                value if isinstance(value, int) else int(value[0])
                for value in (layer.kernel_size, layer.stride, layer.padding)
            )
            side = max(1, (side - 1) * stride + kernel - 2 * padding)
    return side
