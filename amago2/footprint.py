"""Memory and disk that a run needs, from its configuration alone. Imports no heavy library.

The check before training uses these counts (`amago2.training.resources`), and so does whoever plans
runs in advance.
"""

from amago2.config.schema import (
    AmagoConfig,
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    ImageEncoderConfig,
)

IMAGE_SIDE = 64
"""Pixels; the real images are known only to the simulator."""
NATURE_ACTIVATIONS = 21_000
"""Of the convolutions of Mnih et al. (2015), per frame."""
WORKSPACE_BYTES = 2**28


def learner_bytes(config: AmagoConfig) -> int:
    """Memory of an update in each learner process, roughly, in bytes.

    Counts the float32 activations that are kept for the backward pass.
    """
    t, a = config.trajectory_encoder, config.agent
    sequences = config.learner.batch_size // (config.learner.processes or 1)
    trajectory = t.layers * (12 * t.width + 3 * getattr(t, "feedforward_size", 3 * t.width))
    heads = a.num_critics * len(a.discounts) * (2 * sum(a.head_hidden_sizes) + 3 * a.bins)
    per_timestep = trajectory + heads + _image_activations(config.timestep_encoder)
    return 4 * sequences * (t.context_length + 1) * per_timestep + WORKSPACE_BYTES


def _image_activations(
    e: FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig,
) -> int:
    """Activations per frame: each IMPALA block has one at its input's resolution, eight at half."""
    if not isinstance(e, ImageEncoderConfig):
        return 0
    if e.architecture == "nature":
        return NATURE_ACTIVATIONS
    sides = [IMAGE_SIDE >> i for i in range(len(e.channels))]
    return sum(d * (s**2 + 8 * (s // 2) ** 2) for d, s in zip(e.channels, sides, strict=True))


def stored_timesteps(config: AmagoConfig) -> int:
    """Timesteps in replay when training ends: its capacity, or all that is collected if less."""
    c, r = config.collector, config.replay
    longest_trajectory = r.chunk_length or config.trajectory_encoder.context_length
    capacity = r.capacity * (1 if r.unit == "timesteps" else longest_trajectory)
    return min(capacity, c.actors * c.steps_per_epoch * c.epochs)
