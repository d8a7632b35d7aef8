"""Pictures among observations: three-dimensional Boxes, (height, width, channels).

Their numbers are scaled from the declared bounds to [-1, 1], so a picture of floats in [0, 1] is
the same to an encoder as one of bytes.
"""

import gymnasium as gym
import numpy as np

from amago2.env.spaces import Array, is_bounded

LAYOUT = "pictures are (height, width, channels)"


def is_picture(box: gym.spaces.Box) -> bool:
    """Whether an observation is one by its number of dimensions."""
    return len(box.shape) == 3


def is_bytes(box: gym.spaces.Box) -> bool:
    """Whether a picture's numbers are the bytes 0 to 255."""
    return bool(box.dtype == np.uint8 and (box.low == 0).all() and (box.high == 255).all())


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
