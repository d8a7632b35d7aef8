"""Sizes of an agent's networks, counted from its configuration: the basis of time and disk.

Counts the weights of matrix products and convolutions; biases, norms and embeddings are left out.
Vectors have a typical size; images and actions are those of the benchmark's description.
"""

from itertools import pairwise
from typing import NamedTuple

from amago2.config.networks import OwnEncoderConfig, OwnTrajectoryEncoderConfig
from amago2.config.schema import (
    AmagoConfig,
    FeedForwardConfig,
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    GruConfig,
    ImageEncoderConfig,
)
from amago2.footprint import pooled
from workflow.estimate.shapes import shapes

INPUTS, TOKENS = 40, 9
"""Sizes of a typical vector and sentence."""

TimestepEncoder = (
    FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig | OwnEncoderConfig
)


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
    image = shapes(config).image
    return timestep_encoder(config.timestep_encoder, image).plus(trajectory_encoder(config))


def timestep_encoder(e: TimestepEncoder, image: tuple[int, ...] = ()) -> Size:
    """From an observation to the timestep's vector; `image` is height, width and channels."""
    if isinstance(e, FeedForwardEncoderConfig | OwnEncoderConfig):  # of which nothing is known
        weights = mlp([INPUTS, *e.hidden_sizes, e.output_size])
        return Size(weights, weights)
    if isinstance(e, GridLanguageEncoderConfig):
        word, joined = e.rnn_size * (e.embedding_size + e.rnn_size), 900 * e.output_size
        return Size(8_000 + word + joined, 60_000 + TOKENS * word + joined)
    if e.architecture == "nature":
        projection = 3_000 * e.features
        return Size(76_000 + projection, 9_000_000 + projection)
    return _impala(e, image)


def _impala(e: ImageEncoderConfig, image: tuple[int, ...]) -> Size:
    """In each block a convolution, then four of them at half its resolution."""
    height, width, channels = image
    parameters = multiplications = 0
    for depth in e.channels:
        parameters += 9 * (channels * depth + 4 * depth**2)
        multiplications += 9 * height * width * channels * depth
        height, width, channels = pooled(height), pooled(width), depth
        multiplications += 9 * height * width * 4 * depth**2
    projection = height * width * channels * e.features
    return Size(parameters + projection, multiplications + projection)


def trajectory_encoder(config: AmagoConfig) -> Size:
    """From timesteps' vectors to states: attention's products have no weights."""
    t = config.trajectory_encoder
    attention = 0
    if isinstance(t, GruConfig):
        layer = 6 * t.width**2
    elif isinstance(t, FeedForwardConfig):
        layer = 2 * t.width * t.feedforward_size
    elif isinstance(t, OwnTrajectoryEncoderConfig):  # of which nothing is known
        layer = t.width**2
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
    a, actions = config.agent, shapes(config).actions
    return mlp([config.trajectory_encoder.width, *a.head_hidden_sizes, len(a.discounts) * actions])


def critic(config: AmagoConfig) -> int:
    """Parameters of one critic.

    A scalar critic has outputs for each discount and discrete action; else both are read.
    """
    a, width, actions = config.agent, config.trajectory_encoder.width, shapes(config).actions
    if has_table(config):
        return mlp([width, *a.head_hidden_sizes, len(a.discounts) * actions])
    outputs = a.bins if a.critic == "two_hot" else 1
    return mlp([width + 1 + actions, *a.head_hidden_sizes, outputs])


def has_table(config: AmagoConfig) -> bool:
    """Whether a critic gives the values of all discounts and actions at once."""
    return config.agent.critic == "popart" and shapes(config).discrete
