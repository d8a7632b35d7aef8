"""The networks of an agent: timestep encoders and trajectory encoders."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from amago2.config.fields import ImportPath, Positive, kind
from amago2.config.layers import Section


class FeedForwardEncoderConfig(Section):
    """Timestep encoder for vectors: input normalisation, MLP, LayerNorm."""

    kind: Literal["feed_forward"] = "feed_forward"
    hidden_sizes: tuple[Positive, ...] = Field((512, 512), min_length=1)
    output_size: Positive = 256


class ImageEncoderConfig(Section):
    """Timestep encoder for one image: a CNN whose features join reward, action and vectors."""

    kind: Literal["cnn"]
    architecture: Literal["impala", "nature"] = "impala"
    channels: tuple[Annotated[int, Field(gt=0, multiple_of=4)], ...] = Field(
        (16, 32, 32), min_length=1
    )
    """Channels of the IMPALA blocks; the groups of GroupNorm are 4."""
    features: Positive = 384
    output_size: Positive = 384
    augment: bool = True
    """Random shifts during training."""
    recompute_frames: Positive | None = None
    """Frames per part: activations are recomputed part by part in the backward pass. If null, those
    of all frames are kept, which is faster but may not fit the device."""


class GridLanguageEncoderConfig(Section):
    """Timestep encoder for a symbolic grid, a sentence of tokens and a vector, by key."""

    kind: Literal["grid_language"]
    image_key: str = "image"
    tokens_key: str = "mission"
    vector_key: str = "extra"
    vocabulary_size: Positive = 31
    """Tokens, the padding included."""
    embedding_size: Positive = 18
    rnn_size: Positive = 96
    sentence_size: Positive = 48
    output_size: Positive = 300


class TransformerConfig(Section):
    """The causal Transformer over timesteps (paper, Table 2)."""

    kind: Literal["transformer"] = "transformer"
    context_length: Positive
    """Timesteps of the longest sub-sequence in training, and of the memory when acting."""
    width: Positive = 256
    layers: Positive = 3
    heads: Positive = 8
    feedforward_size: Positive = 1024
    dropout: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and divisible by heads {self.heads}")
        return self


class GruConfig(Section):
    """A GRU instead of the Transformer."""

    kind: Literal["gru"]
    context_length: Positive
    """Timesteps of the longest sub-sequence in training."""
    width: Positive = 256
    layers: Positive = 2


class FeedForwardConfig(Section):
    """No memory: residual blocks on each timestep separately."""

    kind: Literal["feed_forward"]
    context_length: Positive
    width: Positive = 256
    layers: Positive = 2
    feedforward_size: Positive = 1024
    dropout: float = Field(0.05, ge=0, lt=1)


class OwnEncoderConfig(Section):
    """Timestep encoder of one's own, by import path: see docs/parts.md."""

    kind: Literal["own"]
    entry_point: ImportPath
    kwargs: dict[str, Any] = {}
    output_size: Positive = 256

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Taken for estimates of memory, as of an MLP: it has at least its outputs."""
        return (self.output_size,)


class OwnTrajectoryEncoderConfig(Section):
    """Trajectory encoder of one's own, by import path: see docs/parts.md."""

    kind: Literal["own"]
    context_length: Positive
    """Timesteps of the longest sub-sequence in training."""
    entry_point: ImportPath
    kwargs: dict[str, Any] = {}
    width: Positive = 256
    layers: Positive = 1
    """Taken for estimates of memory."""


TimestepEncoderConfig = Annotated[
    Annotated[FeedForwardEncoderConfig, Tag("feed_forward")]
    | Annotated[ImageEncoderConfig, Tag("cnn")]
    | Annotated[GridLanguageEncoderConfig, Tag("grid_language")]
    | Annotated[OwnEncoderConfig, Tag("own")],
    Discriminator(kind("feed_forward")),
]
TrajectoryEncoderConfig = Annotated[
    Annotated[TransformerConfig, Tag("transformer")]
    | Annotated[GruConfig, Tag("gru")]
    | Annotated[FeedForwardConfig, Tag("feed_forward")]
    | Annotated[OwnTrajectoryEncoderConfig, Tag("own")],
    Discriminator(kind("transformer")),
]
