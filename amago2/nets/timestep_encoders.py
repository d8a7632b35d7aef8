"""Timestep encoders: observation, previous action and reward -> one vector, no temporal mixing."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

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
from amago2.nets import images
from amago2.nets.moments import Moments
from amago2.nets.precision import Affine, Fixing, unrolled
from amago2.nets.value_bins import symlog

Observation = Mapping[str, Tensor]


class Mlp(Fixing, nn.Sequential):
    """Linear layers of the given sizes, leaky ReLU between them: (..., first) -> (..., last)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU()]
        super().__init__(*layers[:-1])

    def _affines(self) -> list[Affine]:
        return [Affine(x.weight, x.bias) for x in self if isinstance(x, nn.Linear)]

    def fixed(self) -> list[Affine]:
        """Weights and biases."""
        return [affine.fixed(self.rounded) for affine in self._affines()]

    def forward(self, x: Tensor) -> Tensor:
        """See the class. No module is called on the way, for the sake of short steps."""
        *hidden, last = self._fixed or self._affines()
        for affine in hidden:
            x = affine.activated(x)
        return last.of(x)


class InputNorm(Fixing, Moments):
    """Running standardisation of a vector (..., D), updated on valid timesteps while training."""

    RATE = 1e-4

    def __init__(self, size: int) -> None:
        super().__init__(size, self.RATE, square=1.0)

    def forward(self, x: Tensor, learning: bool = False) -> Tensor:
        """Standardise x (..., D); first learn from it, if it holds valid timesteps (M, D) only."""
        if learning:
            self._fixed = None
            self.update(x)
        return ((x - self.mean) / self._scale()).clamp(-1e4, 1e4)

    def _scale(self) -> Tensor:
        """What inputs (D,) are divided by; in evaluation mode, as when that was entered."""
        scale: Tensor = self.fixed() if self._fixed is None else self._fixed
        return scale

    def fixed(self) -> Tensor:
        """The present scale (D,)."""
        std = (self.square - self.mean**2).clamp(min=0).add(1e-5).sqrt().clamp(1e-3, 1e6)
        # A constant input has no scale to divide by.
        return torch.where(std > 0.01, std, 1.0)


class Encoder(nn.Module):
    """What all encoders share: reward and action as one vector, and padding left out."""

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

        While learning, the leading shape is (B, L). `valid` (B, L) selects the timesteps that are
        encoded and that the normaliser learns from; the others are zero. `rng` drives augmentation.
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
        """Encode valid timesteps (M, ...), after the `previous` reward (M, 1) and action (M, A).

        `batch`: the sub-sequence of each timestep (M,), and how many there are.
        """
        raise NotImplementedError


class FeedForward(Encoder):
    """Vectors, reward and action joined -> normalised -> MLP -> LayerNorm."""

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
        """See `Encoder.encode`."""
        joined = torch.cat([*(observation[key].float() for key in self.keys), *previous], -1)
        encoded: Tensor = self.out_norm(self.net(self.norm(joined, batch is not None)))
        return encoded


def _vectors(observations: Mapping[str, gym.spaces.Box]) -> dict[str, int]:
    """Sizes of the real vectors among the observations, by key."""
    return {
        key: box.shape[0]
        for key, box in observations.items()
        if len(box.shape) == 1 and np.issubdtype(box.dtype, np.floating)
    }


class Convolutional(Encoder):
    """One image through a trunk; its features, layer-normalised, join reward, action, vectors."""

    PREVIOUS = 12
    """Features of reward, action and, if there are any, vectors."""

    def __init__(
        self,
        config: ImageEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
    ) -> None:
        """Raises `ValueError` unless the observation is one image of bytes, and vectors at most."""
        vectors = _vectors(observations)
        keys = [key for key in observations if key not in vectors]
        if len(keys) != 1 or len(observations[keys[0]].shape) != 3:
            shapes = ", ".join(f"{key} {box.shape}" for key, box in observations.items())
            raise ValueError(
                "timestep_encoder.kind is 'cnn', which reads one image (height, width, channels), "
                f"but the observation has {shapes}"
            )
        super().__init__(config.output_size, symlog_reward=True)
        self.key, self.augment = keys[0], config.augment
        self.vectors = list(vectors)
        inputs = 1 + actions.size + sum(vectors.values())
        self.norm = InputNorm(inputs)
        self.recompute_frames = config.recompute_frames
        shape = observations[self.key].shape
        channels = shape[2]
        self.trunk: nn.Module = (
            images.nature(channels)
            if config.architecture == "nature"
            else images.impala(channels, config.channels)
        )
        self.project = nn.Linear(images.features(self.trunk, shape), config.features)
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
        """See `Encoder.encode`."""
        frames = observation[self.key]
        if self.augment and batch is not None and rng is not None:
            frames = images.augment(frames, *batch, rng)
        seen = self.image_norm(self.project(self._features(frames)))
        beside = torch.cat([*previous, *(observation[key].float() for key in self.vectors)], -1)
        before = self.previous(self.norm(beside, batch is not None))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([seen, before], -1)))
        return encoded

    def _features(self, frames: Tensor) -> Tensor:
        """The trunk's outputs (F, features) for frames (F, H, W, C)."""
        if self.recompute_frames is None or not torch.is_grad_enabled():
            features: Tensor = self.trunk(images.scaled(frames))
            return features
        parts = [
            checkpoint(
                lambda part: self.trunk(images.scaled(part)),
                part,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for part in frames.split(self.recompute_frames)
        ]
        return torch.cat(parts)


class GridLanguage(Encoder):
    """A grid's convolutions, a sentence's recurrent summary and vectors, joined (BabyAI)."""

    def __init__(
        self,
        config: GridLanguageEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
    ) -> None:
        """Raises `ValueError` if a key is missing."""
        missing = {config.image_key, config.tokens_key, config.vector_key} - set(observations)
        if missing:
            raise ValueError(
                f"timestep_encoder.kind is 'grid_language', but there is no observation "
                f"{sorted(missing)[0]}; there are {', '.join(observations)}"
            )
        super().__init__(config.output_size, symlog_reward=True)
        self.keys = config.image_key, config.tokens_key
        vectors = {
            config.vector_key: observations[config.vector_key].shape[0],
            **_vectors(observations),
        }
        self.vectors = list(vectors)
        vector = sum(vectors.values()) + 1 + actions.size
        shape = observations[config.image_key].shape
        self.grid = images.grid(shape[2])
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.recurrent = nn.RNN(config.embedding_size, config.rnn_size, batch_first=True)
        self.language = nn.Linear(config.rnn_size, config.sentence_size)
        self.language_norm = nn.LayerNorm(config.sentence_size)
        self.vector = nn.Sequential(Mlp([vector, 32, 16]), nn.LeakyReLU())
        joined = images.features(self.grid, shape) + config.sentence_size + 16
        self.merge = nn.Linear(joined, config.output_size)
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, int] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `Encoder.encode`."""
        image, tokens = (observation[key] for key in self.keys)
        seen = self.grid(images.scaled(image))
        _, heard = unrolled(self.recurrent, self.embedding(tokens.long()))
        sentence = self.language_norm(self.language(heard[0]))
        vectors = [observation[key].float() for key in self.vectors]
        rest = self.vector(torch.cat([*previous, *vectors], -1))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([seen, sentence, rest], -1)))
        return encoded


def make_encoder(
    config: FeedForwardEncoderConfig | ImageEncoderConfig | GridLanguageEncoderConfig,
    observations: Mapping[str, gym.spaces.Box],
    actions: ActionSpec,
    symlog_reward: bool,
) -> Encoder:
    """The configured encoder. Raises `ValueError` if the observation does not suit it."""
    if isinstance(config, ImageEncoderConfig):
        return Convolutional(config, observations, actions)
    if isinstance(config, GridLanguageEncoderConfig):
        return GridLanguage(config, observations, actions)
    return FeedForward(config, observations, actions, symlog_reward)
