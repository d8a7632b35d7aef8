"""Timestep encoders: observation, previous action and reward -> one vector, each timestep alone."""

from collections.abc import Mapping

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amago2.config.schema import (
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    ImageEncoderConfig,
)
from amago2.env.spaces import ActionSpec
from amago2.nets import convnets
from amago2.nets.augmentation import random_shift
from amago2.nets.mlp import Mlp
from amago2.nets.normalisation import InputNorm
from amago2.nets.precision import run_rnn
from amago2.nets.two_hot import symlog

Observation = Mapping[str, Tensor]


class TimestepEncoder(nn.Module):
    """Base of the timestep encoders: brings inputs into shape and leaves padding out."""

    def __init__(self, output: int, symlog_reward: bool) -> None:
        super().__init__()
        self.output = output
        self.symlog_reward = symlog_reward

    def forward(
        self,
        observation: Observation,
        reward: Tensor,
        action: Tensor,
        valid: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Encode observation[k] (..., d_k), reward (...), action (..., A) -> (..., D).

        In training, the leading shape is (B, L) and `valid` (B, L) selects the timesteps that are
        encoded and that update the input normalisation; the others become zeros. `rng` drives
        augmentation.
        """
        reward = (symlog(reward) if self.symlog_reward else reward).unsqueeze(-1)
        if valid is None:
            return self.encode(observation, [reward, action], None, rng)
        sequence, position = valid.nonzero(as_tuple=True)
        flat = {key: x[sequence, position] for key, x in observation.items()}
        previous = [x[sequence, position] for x in (reward, action)]
        encoded = self.encode(flat, previous, (sequence, len(valid)), rng)
        padded = encoded.new_zeros(*valid.shape, encoded.shape[-1])
        padded[sequence, position] = encoded
        return padded

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, int] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """Encode valid timesteps (M, ...) after the `previous` reward (M, 1) and action (M, A).

        `batch` is given in training: the sub-sequence (M,) of each timestep, and how many there
        are.
        """
        raise NotImplementedError


class VectorEncoder(TimestepEncoder):
    """Vectors, reward and action joined -> standardised -> MLP -> LayerNorm."""

    def __init__(
        self,
        config: FeedForwardEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
        symlog_reward: bool,
    ) -> None:
        """Raises `ValueError` for images, which need a convolutional encoder."""
        images = [key for key, box in observations.items() if len(box.shape) > 1]
        if images:
            raise ValueError(
                f"timestep_encoder.kind is 'feed_forward', which reads vectors, but observation "
                f"{images[0]} has shape {observations[images[0]].shape}; use cnn"
            )
        inputs = sum(int(box.shape[0]) for box in observations.values()) + 1 + actions.size
        super().__init__(config.output_size, symlog_reward)
        self.keys = list(observations)
        self.norm = InputNorm(inputs)
        self.net = Mlp([inputs, *config.hidden_sizes, config.output_size])
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, int] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        joined = torch.cat([*(observation[key].float() for key in self.keys), *previous], -1)
        encoded: Tensor = self.out_norm(self.net(self.norm(joined, update=batch is not None)))
        return encoded


def _vector_sizes(observations: Mapping[str, gym.spaces.Box]) -> dict[str, int]:
    """Sizes of the real-valued vectors among the observations, by key."""
    return {
        key: box.shape[0]
        for key, box in observations.items()
        if len(box.shape) == 1 and np.issubdtype(box.dtype, np.floating)
    }


class ImageEncoder(TimestepEncoder):
    """One image through a CNN; its features, layer-normalised, join reward, action and vectors."""

    PREVIOUS = 12
    """Features of reward, action and, if there are any, vectors."""

    def __init__(
        self,
        config: ImageEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
    ) -> None:
        """Raises `ValueError` unless the observation is one image of bytes, and vectors at most."""
        vectors = _vector_sizes(observations)
        keys = [key for key in observations if key not in vectors]
        if len(keys) != 1 or len(observations[keys[0]].shape) != 3:
            found = ", ".join(f"{key} {box.shape}" for key, box in observations.items())
            raise ValueError(
                "timestep_encoder.kind is 'cnn', which reads one image (height, width, channels), "
                f"but the observation has {found}"
            )
        super().__init__(config.output_size, symlog_reward=True)
        self.key, self.augment = keys[0], config.augment
        self.vectors = list(vectors)
        inputs = 1 + actions.size + sum(vectors.values())
        self.norm = InputNorm(inputs)
        self.recompute_frames = config.recompute_frames
        shape = observations[self.key].shape
        channels = shape[2]
        self.cnn: nn.Module = (
            convnets.nature_cnn(channels)
            if config.architecture == "nature"
            else convnets.impala_cnn(channels, config.channels)
        )
        self.project = nn.Linear(convnets.output_size(self.cnn, shape), config.features)
        self.image_norm = nn.LayerNorm(config.features)
        self.previous = nn.Linear(inputs, self.PREVIOUS)
        self.merge = nn.Linear(config.features + self.PREVIOUS, config.output_size)
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, int] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        frames = observation[self.key]
        if self.augment and batch is not None and rng is not None:
            frames = random_shift(frames, *batch, rng)
        image = self.image_norm(self.project(self._image_features(frames)))
        joined = torch.cat([*previous, *(observation[key].float() for key in self.vectors)], -1)
        rest = self.previous(self.norm(joined, update=batch is not None))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([image, rest], -1)))
        return encoded

    def _image_features(self, frames: Tensor) -> Tensor:
        """Outputs (F, features) of the CNN for frames (F, H, W, C)."""
        if self.recompute_frames is None or not torch.is_grad_enabled():
            features: Tensor = self.cnn(convnets.scale_pixels(frames))
            return features
        chunks = [
            checkpoint(
                lambda chunk: self.cnn(convnets.scale_pixels(chunk)),
                chunk,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for chunk in frames.split(self.recompute_frames)
        ]
        return torch.cat(chunks)


class GridLanguageEncoder(TimestepEncoder):
    """A grid's CNN, a sentence's recurrent summary and vectors, joined (BabyAI)."""

    def __init__(
        self,
        config: GridLanguageEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
    ) -> None:
        """Raises `ValueError` if an observation is missing."""
        missing = {config.image_key, config.tokens_key, config.vector_key} - set(observations)
        if missing:
            raise ValueError(
                f"timestep_encoder.kind is 'grid_language', but there is no observation "
                f"{sorted(missing)[0]}; there are {', '.join(observations)}"
            )
        super().__init__(config.output_size, symlog_reward=True)
        self.keys = config.image_key, config.tokens_key
        sizes = {
            config.vector_key: observations[config.vector_key].shape[0],
            **_vector_sizes(observations),
        }
        self.vectors = list(sizes)
        vector = sum(sizes.values()) + 1 + actions.size
        shape = observations[config.image_key].shape
        self.grid = convnets.grid_cnn(shape[2])
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.recurrent = nn.RNN(config.embedding_size, config.rnn_size, batch_first=True)
        self.language = nn.Linear(config.rnn_size, config.sentence_size)
        self.language_norm = nn.LayerNorm(config.sentence_size)
        self.vector = nn.Sequential(Mlp([vector, 32, 16]), nn.LeakyReLU())
        joined = convnets.output_size(self.grid, shape) + config.sentence_size + 16
        self.merge = nn.Linear(joined, config.output_size)
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, int] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        image, tokens = (observation[key] for key in self.keys)
        grid = self.grid(convnets.scale_pixels(image))
        _, hidden = run_rnn(self.recurrent, self.embedding(tokens.long()))
        sentence = self.language_norm(self.language(hidden[0]))
        vectors = [observation[key].float() for key in self.vectors]
        rest = self.vector(torch.cat([*previous, *vectors], -1))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([grid, sentence, rest], -1)))
        return encoded


def make_timestep_encoder(
    config: FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig,
    observations: Mapping[str, gym.spaces.Box],
    actions: ActionSpec,
    symlog_reward: bool,
) -> TimestepEncoder:
    """The configured encoder. Raises `ValueError` if it does not suit the observation."""
    if isinstance(config, ImageEncoderConfig):
        return ImageEncoder(config, observations, actions)
    if isinstance(config, GridLanguageEncoderConfig):
        return GridLanguageEncoder(config, observations, actions)
    return VectorEncoder(config, observations, actions, symlog_reward)
