"""Pictures among observations: three-dimensional Boxes, (height, width, channels).

Their numbers are scaled from the declared bounds to [-1, 1], so a picture of floats in [0, 1] is
the same to an encoder as one of bytes.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.spaces import Array, is_bounded

LAYOUT = "pictures are (height, width, channels)"
MAX_CHANNELS = 12
LEAST_SIDE = 15
"""Pixels of a side, from which on numbers in three dimensions are taken for a picture."""


def is_picture(box: gym.spaces.Box) -> bool:
    """Whether an observation is one by its number of dimensions."""
    return len(box.shape) == 3


def is_large_picture(box: gym.spaces.Box) -> bool:
    """Whether it is one that is too large to be read as a vector."""
    return is_picture(box) and min(box.shape[:2]) >= LEAST_SIDE


def is_bytes(box: gym.spaces.Box) -> bool:
    """Whether a picture's numbers are the bytes 0 to 255."""
    return bool(box.dtype == np.uint8 and (box.low == 0).all() and (box.high == 255).all())


def as_picture(box: gym.spaces.Box) -> gym.spaces.Box | None:
    """The Box as (height, width, channels), if it looks like a picture in another layout.

    That is: channels first; bytes without channels; bytes of stacked frames, (frames, height,
    width, channels).
    """
    if not is_turned(box):
        return None
    low, high = (channels_last(bound) for bound in (box.low, box.high))
    dtype: Any = box.dtype
    return gym.spaces.Box(low, high, dtype=dtype.type)


def is_turned(box: gym.spaces.Box) -> bool:
    """Whether a Box looks like a picture in another layout: see `as_picture`."""
    match box.shape:
        case channels, height, width:
            return channels <= MAX_CHANNELS and min(height, width) >= LEAST_SIDE
        case height, width:
            return min(height, width) >= LEAST_SIDE and is_bytes(box)
        case frames, height, width, channels:
            few = frames <= MAX_CHANNELS and channels <= 4
            return few and min(height, width) >= LEAST_SIDE and is_bytes(box)
    return False


def channels_last(array: Array) -> Array:
    """A picture in another layout (see `as_picture`) as (height, width, channels)."""
    if array.ndim == 2:
        return array[..., None]
    turned = array.transpose(1, 2, 0, *range(3, array.ndim))
    return turned.reshape(*turned.shape[:2], -1)


def channel_bounds(box: gym.spaces.Box) -> tuple[Array, Array]:
    """Lowest and highest number of each channel, (C,) each, of the picture's type."""
    return box.low.min((0, 1)), box.high.max((0, 1))


def picture_problem(key: str, box: gym.spaces.Box) -> str | None:
    """Why an observation cannot be a convolutional network's input, whatever its size."""
    subject = f"observation {key} has shape {box.shape}"
    if not is_picture(box):
        if len(box.shape) == 2:
            return (
                f"{subject}, but {LAYOUT}: give it one channel if it is a picture "
                f"(gymnasium.wrappers.ReshapeObservation to {(*box.shape, 1)}), or flatten it "
                "(gymnasium.wrappers.FlattenObservation) for timestep_encoder.kind feed_forward"
            )
        if len(box.shape) > 3:
            return f"{subject}, but {LAYOUT}: put stacked frames into the channels"
        return f"{subject}, but {LAYOUT}"
    height, width, channels = box.shape
    if height < width == channels:
        return (
            f"{subject}, which looks like channels first, but {LAYOUT}: transpose it "
            "(gymnasium.wrappers.TransformObservation)"
        )
    if not is_bounded(box):
        return (
            f"observation {key} is a picture of {box.dtype} without bounds, from which it would "
            "be scaled to [-1, 1]; declare them, such as Box(0, 1, ...), or use bytes (uint8)"
        )
    return None
