"""Sizes of an agent's networks, counted from its configuration: the basis of time and disk.

Counts the weights of matrix products and convolutions; biases, norms and embeddings are left out.
Observations and actions have typical sizes, since the real ones are known only to the simulator.
"""

from itertools import pairwise
from typing import NamedTuple

from amago2.config.schema import (
    AmagoConfig,
    FeedForwardConfig,
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    GruConfig,
    ImageEncoderConfig,
)
from amago2.footprint import IMAGE_SIDE

INPUTS, ACTIONS, CHANNELS, TOKENS = 40, 12, 3, 9
"""Sizes of a typical vector, action space, image and sentence."""

TimestepEncoder = FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig


class Size(NamedTuple):
    """Of one network or of several."""

    parameters: int
    multiplications: int
    """Of a forward pass, per timestep."""

    def plus(self, *others: "Size") -> "Size":
        """The sum of both counts."""
        sizes = (self, *others)
        return Size(sum(s.parameters for s in sizes), sum(s.multiplications for s in sizes))


def mlp(sizes: list[int]) -> int:
    """Weights between layers of these sizes; a forward pass multiplies by each of them once."""
    return sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def parameters(config: AmagoConfig) -> int:
    """Trained parameters of an AMAGO-2 agent."""
    return encoders(config).parameters + heads(config)


def encoders(config: AmagoConfig) -> Size:
    """Timestep encoder and trajectory encoder."""
    return timestep_encoder(config.timestep_encoder).plus(trajectory_encoder(config))


def timestep_encoder(e: TimestepEncoder) -> Size:
    """From an observation to the timestep's vector."""
    if isinstance(e, FeedForwardEncoderConfig):
        weights = mlp([INPUTS, *e.hidden_sizes, e.output_size])
        return Size(weights, weights)
    if isinstance(e, GridLanguageEncoderConfig):
        word, joined = e.rnn_size * (e.embedding_size + e.rnn_size), 900 * e.output_size
        return Size(8_000 + word + joined, 60_000 + TOKENS * word + joined)
    if e.architecture == "nature":
        projection = 3_000 * e.features
        return Size(76_000 + projection, 9_000_000 + projection)
    return _impala(e)


def _impala(e: ImageEncoderConfig) -> Size:
    """In each block a convolution, then four of them at half its resolution."""
    side, channels = IMAGE_SIDE, CHANNELS
    parameters = multiplications = 0
    for depth in e.channels:
        parameters += 9 * (channels * depth + 4 * depth**2)
        multiplications += 9 * side**2 * (channels * depth + depth**2)
        side, channels = side // 2, depth
    projection = side**2 * channels * e.features
    return Size(parameters + projection, multiplications + projection)


def trajectory_encoder(config: AmagoConfig) -> Size:
    """From timesteps' vectors to states: attention's products have no weights."""
    t = config.trajectory_encoder
    attention = 0
    if isinstance(t, GruConfig):
        layer = 6 * t.width**2
    elif isinstance(t, FeedForwardConfig):
        layer = 2 * t.width * t.feedforward_size
    else:
        layer = 4 * t.width**2 + 2 * t.width * t.feedforward_size
        attention = t.context_length * t.width
    weights = config.timestep_encoder.output_size * t.width + t.layers * layer
    return Size(weights, weights + t.layers * attention)


def heads(config: AmagoConfig) -> int:
    """Parameters of the actor and all critics, of which there are target copies too."""
    return actor(config) + config.agent.num_critics * critic(config)


def actor(config: AmagoConfig) -> int:
    """Parameters of the actor: a policy for each discount."""
    a = config.agent
    return mlp([config.trajectory_encoder.width, *a.head_hidden_sizes, len(a.discounts) * ACTIONS])


def critic(config: AmagoConfig) -> int:
    """Parameters of one critic.

    A scalar critic has outputs for each discount and action; a two-hot one reads both.
    """
    a, width = config.agent, config.trajectory_encoder.width
    if a.critic == "popart":
        return mlp([width, *a.head_hidden_sizes, len(a.discounts) * ACTIONS])
    return mlp([width + 1 + ACTIONS, *a.head_hidden_sizes, a.bins])
