"""What a run takes of memory, from its configuration alone. Imports no heavy library."""

from amago2.config.schema import (
    AmagoConfig,
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    ImageEncoderConfig,
)

SIDE = 64
"""Of images: the real one needs the simulator."""
NATURE = 21_000
"""Activations of the other convolutional trunk."""


def learner_bytes(config: AmagoConfig) -> int:
    """Rough memory of an update in each of the ranks: float32 activations kept by the gradient."""
    t, a = config.trajectory_encoder, config.agent
    tokens = config.learner.batch_size // (config.learner.processes or 1) * (t.context_length + 1)
    trunk = t.layers * (12 * t.width + 3 * getattr(t, "feedforward_size", 3 * t.width))
    heads = a.num_critics * len(a.discounts) * (2 * sum(a.head_hidden_sizes) + 3 * a.bins)
    return 4 * tokens * (trunk + heads + _convolutions(config.timestep_encoder)) + 2**28


def _convolutions(
    e: FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig,
) -> int:
    """Activations of an image's convolutions: one at full size, then two blocks at half of it."""
    if not isinstance(e, ImageEncoderConfig):
        return 0
    if e.architecture == "nature":
        return NATURE
    sides = [SIDE >> i for i in range(len(e.channels))]
    return sum(d * (s**2 + 8 * (s // 2) ** 2) for d, s in zip(e.channels, sides, strict=True))
