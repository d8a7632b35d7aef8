"""Timestep encoders: observation, previous action and reward -> one vector, each timestep alone."""

import math
from collections.abc import Iterable, Mapping, Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amago2.config.networks import (
    FeedForwardEncoderConfig,
    GridLanguageEncoderConfig,
    ImageEncoderConfig,
    OwnEncoderConfig,
    TimestepEncoderConfig,
)
from amago2.env.importing import make_part
from amago2.env.pictures import LAYOUT, is_large_picture, is_picture, picture_problem
from amago2.env.spaces import ActionSpec, is_bounded, short
from amago2.errors import ConfigError, RunError
from amago2.nets import convnets
from amago2.nets.augmentation import random_shift
from amago2.nets.mlp import Mlp
from amago2.nets.normalisation import InputNorm
from amago2.nets.precision import run_rnn
from amago2.nets.rows import Rows
from amago2.nets.two_hot import symlog

Observation = Mapping[str, Tensor]


class TimestepEncoder(nn.Module):
    """Base of the timestep encoders: brings inputs into shape and leaves padding out."""

    def __init__(self, output: int, symlog_reward: bool) -> None:
        super().__init__()
        self.output = output
        self.symlog_reward = symlog_reward
        self.norm: InputNorm | None = None

    def forward(
        self,
        observation: Observation,
        reward: Tensor,
        action: Tensor,
        tokens: Rows | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Encode observation[k] (..., d_k), reward (...), action (..., A) -> (..., D).

        In training, the leading shape is (B, L) and `tokens` selects the timesteps that are encoded
        and that update the input normalisation; the others become zeros. `rng` drives augmentation.
        """
        if tokens is None:
            return self.encode(observation, [self._reward(reward), action], None, rng)
        batch = tokens.index, reward.shape[:2]
        encoded = self.encode(*self._valid(observation, reward, action, tokens), batch, rng)
        return tokens.put(encoded).view(*batch[1], -1)

    def _reward(self, reward: Tensor) -> Tensor:
        return (symlog(reward) if self.symlog_reward else reward).unsqueeze(-1)

    def _valid(
        self, observation: Observation, reward: Tensor, action: Tensor, tokens: Rows
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The valid timesteps (M, ...) of observations, and of the previous reward and action."""
        flat = {key: tokens.take(x.flatten(0, 1)) for key, x in observation.items()}
        return flat, [tokens.take(x.flatten(0, 1)) for x in (self._reward(reward), action)]

    def learn_statistics(self, parts: Iterable[tuple[Observation, Tensor, Tensor, Rows]]) -> None:
        """Learn the input normalisation from all parts of a batch: arguments of `forward` each."""
        if self.norm:
            self.norm.update(torch.cat([self._joined(*self._valid(*part)) for part in parts]))

    def _joined(self, observation: Observation, previous: list[Tensor]) -> Tensor:
        """The vectors (M, D) that `norm` normalises, of valid timesteps; see `encode`."""
        raise NotImplementedError

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, torch.Size] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """Encode valid timesteps (M, ...) after the `previous` reward (M, 1) and action (M, A).

        `batch` is given in training: each timestep's place (M,) in the flattened batch, and the
        shape (B, L) of the batch.
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
        """Raises `ValueError` for pictures that are large enough for a convolutional encoder."""
        if pictures := [key for key, box in observations.items() if is_large_picture(box)]:
            raise ValueError(_not_a_vector(pictures[0], observations[pictures[0]]))
        inputs = sum(math.prod(box.shape) for box in observations.values()) + 1 + actions.size
        super().__init__(config.output_size, symlog_reward)
        self.keys = list(observations)
        self.norm: InputNorm = InputNorm(inputs)
        self.net = Mlp([inputs, *config.hidden_sizes, config.output_size])
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, torch.Size] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        inputs = self.norm(self._joined(observation, previous), update=batch is not None)
        encoded: Tensor = self.out_norm(self.net(inputs))
        return encoded

    def _joined(self, observation: Observation, previous: list[Tensor]) -> Tensor:
        return torch.cat([*_vectors(observation, self.keys, previous), *previous], -1)


def _not_a_vector(key: str, box: gym.spaces.Box) -> str:
    return (
        "timestep_encoder.kind is 'feed_forward', which reads vectors, but observation "
        f"{key} has shape {box.shape}; {picture_problem(key, box) or 'use cnn'}"
    )


def _vectors(
    observation: Observation, keys: Iterable[str], previous: Sequence[Tensor]
) -> list[Tensor]:
    """Observations (..., d_k) in float32; numbers and arrays of any shape become vectors."""
    vectors = (observation[key].float() for key in keys)
    return [x if x.ndim == previous[0].ndim else _flat(x, previous[0].ndim) for x in vectors]


def _flat(x: Tensor, dimensions: int) -> Tensor:
    return x.unsqueeze(-1) if x.ndim < dimensions else x.flatten(dimensions - 1)


def _vector_sizes(observations: Mapping[str, gym.spaces.Box]) -> dict[str, int]:
    """Sizes of the real-valued vectors among the observations, by key."""
    return {
        key: math.prod(box.shape)
        for key, box in observations.items()
        if len(box.shape) < 2 and np.issubdtype(box.dtype, np.floating)
    }


def _picture_size(kind: str, key: str, box: gym.spaces.Box, network: nn.Sequential) -> int:
    """Outputs of a network for a picture. Raises `ValueError` if it has none."""
    least = convnets.least_side(network)
    if problem := picture_problem(key, box):
        raise ValueError(f"{problem}; {kind} needs at least {least} x {least} pixels")
    if min(box.shape[:2]) < least:
        raise ValueError(
            f"observation {key} has shape {box.shape}, and {LAYOUT}; {kind} needs at least "
            f"{least} x {least} pixels: enlarge it (gymnasium.wrappers.ResizeObservation), or "
            "flatten it (FlattenObservation) for timestep_encoder.kind feed_forward"
        )
    return convnets.output_size(network, box.shape)


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
        """Raises `ValueError` unless there is one picture; what is beside it becomes vectors."""
        super().__init__(config.output_size, symlog_reward=True)
        self.key, self.augment = _only_picture(observations), config.augment
        vectors = {k: math.prod(box.shape) for k, box in observations.items() if k != self.key}
        self.vectors = list(vectors)
        inputs = 1 + actions.size + sum(vectors.values())
        self.norm: InputNorm = InputNorm(inputs)
        self.recompute_frames = config.recompute_frames
        box = observations[self.key]
        channels = box.shape[2]
        self.scale = convnets.pixel_scaling(box)
        self.cnn = (
            convnets.nature_cnn(channels)
            if config.architecture == "nature"
            else convnets.impala_cnn(channels, config.channels)
        )
        kind = f"timestep_encoder.architecture {config.architecture}"
        self.project = nn.Linear(_picture_size(kind, self.key, box, self.cnn), config.features)
        self.image_norm = nn.LayerNorm(config.features)
        self.previous = nn.Linear(inputs, self.PREVIOUS)
        self.merge = nn.Linear(config.features + self.PREVIOUS, config.output_size)
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, torch.Size] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        frames = observation[self.key]
        if self.augment and batch is not None and rng is not None:
            place, (size, length) = batch
            frames = random_shift(frames, place // length, size, rng)
        image = self.image_norm(self.project(self._image_features(frames)))
        joined = self._joined(observation, previous)
        rest = self.previous(self.norm(joined, update=batch is not None))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([image, rest], -1)))
        return encoded

    def _joined(self, observation: Observation, previous: list[Tensor]) -> Tensor:
        return torch.cat([*previous, *_vectors(observation, self.vectors, previous)], -1)

    def _image_features(self, frames: Tensor) -> Tensor:
        """Outputs (F, features) of the CNN for frames (F, H, W, C)."""
        if self.recompute_frames is None or not torch.is_grad_enabled():
            features: Tensor = self.cnn(self.scale(frames))
            return features
        chunks = [
            checkpoint(
                lambda chunk: self.cnn(self.scale(chunk)),
                chunk,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for chunk in frames.split(self.recompute_frames)
        ]
        return torch.cat(chunks)


def _only_picture(observations: Mapping[str, gym.spaces.Box]) -> str:
    """Key of the picture. Raises `ValueError` unless there is exactly one."""
    found = [key for key, box in observations.items() if is_picture(box)]
    pictures = [key for key in found if is_large_picture(observations[key])] or found
    if len(pictures) == 1:
        return pictures[0]
    matrices = [key for key, box in observations.items() if len(box.shape) > 1]
    if pictures:
        advice = "join pictures of equal size as channels of one"
    elif matrices:
        advice = picture_problem(matrices[0], observations[matrices[0]]) or ""
    else:
        advice = "use timestep_encoder.kind feed_forward"
    shown = ", ".join(f"{key} {box.shape} {box.dtype}" for key, box in observations.items())
    raise ValueError(
        "timestep_encoder.kind is 'cnn', which reads one picture (height, width, channels) and "
        f"what is beside it as vectors, but the observation has {shown}; {advice}"
    )


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
        _check_sentence(config, observations)
        super().__init__(config.output_size, symlog_reward=True)
        self.keys = config.image_key, config.tokens_key
        box = observations[config.image_key]
        if not is_picture(box):
            raise ValueError(picture_problem(config.image_key, box))
        sizes = {
            config.vector_key: observations[config.vector_key].shape[0],
            **_vector_sizes(observations),
        }
        self.vectors = list(sizes)
        vector = sum(sizes.values()) + 1 + actions.size
        self.scale = convnets.pixel_scaling(box)
        self.grid = convnets.grid_cnn(box.shape[2])
        grid = _picture_size(
            "timestep_encoder.kind grid_language", config.image_key, box, self.grid
        )
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.recurrent = nn.RNN(config.embedding_size, config.rnn_size, batch_first=True)
        self.language = nn.Linear(config.rnn_size, config.sentence_size)
        self.language_norm = nn.LayerNorm(config.sentence_size)
        self.vector = nn.Sequential(Mlp([vector, 32, 16]), nn.LeakyReLU())
        joined = grid + config.sentence_size + 16
        self.merge = nn.Linear(joined, config.output_size)
        self.out_norm = nn.LayerNorm(config.output_size)

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, torch.Size] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        image, tokens = (observation[key] for key in self.keys)
        grid = self.grid(self.scale(image))
        _, hidden = run_rnn(self.recurrent, self.embedding(tokens.long()))
        sentence = self.language_norm(self.language(hidden[0]))
        vectors = _vectors(observation, self.vectors, previous)
        rest = self.vector(torch.cat([*previous, *vectors], -1))
        encoded: Tensor = self.out_norm(self.merge(torch.cat([grid, sentence, rest], -1)))
        return encoded


def _check_sentence(
    config: GridLanguageEncoderConfig, observations: Mapping[str, gym.spaces.Box]
) -> None:
    """Raise `ValueError` unless there are tokens of the vocabulary and a vector."""
    for key in (config.tokens_key, config.vector_key):
        if len(shape := observations[key].shape) != 1:
            raise ValueError(f"observation {key} has shape {shape}, and must be a vector, (n,)")
    tokens = observations[config.tokens_key]
    most = config.vocabulary_size - 1
    whole = np.issubdtype(tokens.dtype, np.integer)
    if not whole or (is_bounded(tokens) and (tokens.low.min() < 0 or tokens.high.max() > most)):
        raise ValueError(
            f"observation {config.tokens_key} is {short(tokens)}, but must be whole numbers of 0 "
            f"to {most} (timestep_encoder.vocabulary_size - 1)"
        )


class OwnEncoder(TimestepEncoder):
    """A user's module: observation[k] (M, ...), reward (M,), action (M, A) -> (M, D)."""

    def __init__(
        self,
        config: OwnEncoderConfig,
        observations: Mapping[str, gym.spaces.Box],
        actions: ActionSpec,
        symlog_reward: bool,
    ) -> None:
        """Raises `ConfigError` if it is no module that takes these spaces."""
        super().__init__(config.output_size, symlog_reward)
        key, size = "timestep_encoder.entry_point", config.output_size
        self.inner = make_part(
            key, config.entry_point, config.kwargs, observations, actions, output_size=size
        )
        if not isinstance(self.inner, nn.Module):
            raise ConfigError(f"{key} is {config.entry_point!r}, which makes no torch.nn.Module")
        self.path = config.entry_point

    def encode(
        self,
        observation: Observation,
        previous: list[Tensor],
        batch: tuple[Tensor, torch.Size] | None,
        rng: torch.Generator | None,
    ) -> Tensor:
        """See `TimestepEncoder.encode`."""
        reward, action = previous
        encoded = self.inner(observation, reward.squeeze(-1), action)
        wanted = (*reward.shape[:-1], self.output)
        if not isinstance(encoded, Tensor) or encoded.shape != wanted:
            raise RunError(
                f"{self.path} returned {_described(encoded)}; it must return a tensor of shape "
                f"{wanted} (timestep_encoder.output_size is {self.output})"
            )
        return encoded.float()


def _described(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def make_timestep_encoder(
    config: TimestepEncoderConfig,
    observations: Mapping[str, gym.spaces.Box],
    actions: ActionSpec,
    symlog_reward: bool,
) -> TimestepEncoder:
    """The configured encoder. Raises `ValueError` if it does not suit the observation."""
    if isinstance(config, ImageEncoderConfig):
        return ImageEncoder(config, observations, actions)
    if isinstance(config, GridLanguageEncoderConfig):
        return GridLanguageEncoder(config, observations, actions)
    if isinstance(config, OwnEncoderConfig):
        return OwnEncoder(config, observations, actions, symlog_reward)
    return VectorEncoder(config, observations, actions, symlog_reward)
