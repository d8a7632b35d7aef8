"""Configurations of runs that other trainers than AMAGO-2 make.

A variant that names a `trainer` is made by `python -m workflow.baselines.<trainer>`. Environment,
timesteps and evaluation are those of the benchmark, so that curves can be compared step by step.
Imports nothing heavy, as `amago2.config.schema` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from amago2.config.documents import read_yaml
from amago2.config.fields import Fraction, Natural, Positive
from amago2.config.layers import Section
from amago2.config.schema import (
    AmagoConfig,
    FeedForwardEncoderConfig,
    RunConfig,
    load_as,
)
from amago2.errors import ConfigError

Discount = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]


class PpoLearnerConfig(Section):
    """Proximal policy optimisation (Schulman et al. 2017) of a recurrent policy."""

    rollout_steps: Positive
    """Timesteps of each actor between two rounds of learning."""
    sequence_length: Positive
    """Timesteps through which gradients go back: longer rollouts are split into chunks."""
    width: Positive = 256
    """Of the GRU."""
    layers: Positive = 1
    head_hidden_sizes: tuple[Positive, ...] = Field((256,), min_length=1)
    discount: Discount = 0.99
    gae_lambda: Fraction = 0.95
    """lambda of the generalised advantage estimate."""
    epochs: Positive = 4
    """Passes over the timesteps of a round."""
    minibatches: Positive = 4
    """Of whole chunks, in each epoch."""
    clip_range: float = Field(0.2, gt=0, lt=1)
    learning_rate: Rate = 3e-4
    value_loss_weight: Rate = 0.5
    entropy_weight: float = Field(0.01, ge=0)
    gradient_clip: Rate = 0.5


class SacLearnerConfig(Section):
    """Soft actor-critic (Haarnoja et al. 2018) of stable-baselines3, entropy weight learned."""

    learning_rate: Rate = 3e-4
    batch_size: Positive = 256
    capacity: Positive = 1_000_000
    """Timesteps in replay."""
    random_steps: Natural = 10_000
    """Timesteps of all actors with random actions, before anything is learned."""
    train_frequency: Positive = 1
    """Timesteps of each actor between two rounds of learning."""
    gradient_steps: Positive = 1
    """In each round."""
    discount: Discount = 0.99
    target_rate: float = Field(0.005, gt=0, le=1)
    hidden_sizes: tuple[Positive, ...] = Field((256, 256), min_length=1)


class BaselineConfig(RunConfig):
    """What the baselines' configurations share."""

    NOT_HASHED: ClassVar[dict[str, Any]] = {
        **RunConfig.NOT_HASHED,
        "collector": {"exploration", "warmup_epochs", "asynchronous"},  # AMAGO-2's own
    }

    @property
    def updates(self) -> int:
        """Gradient steps of the whole run."""
        raise NotImplementedError


class PpoGruConfig(BaselineConfig):
    """PPO with a GRU."""

    trainer: Literal["ppo_gru"]
    timestep_encoder: FeedForwardEncoderConfig = FeedForwardEncoderConfig()
    ppo: PpoLearnerConfig

    @property
    def updates(self) -> int:
        """Gradient steps of the whole run."""
        rounds = self.collector.epochs * self.collector.steps_per_epoch // self.ppo.rollout_steps
        return rounds * self.ppo.epochs * self.ppo.minibatches

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        steps, chunks = (
            self.ppo.rollout_steps,
            -(-self.ppo.rollout_steps // self.ppo.sequence_length),
        )
        if self.collector.steps_per_epoch % steps:
            raise ValueError(
                f"ppo.rollout_steps {steps} must divide collector.steps_per_epoch "
                f"{self.collector.steps_per_epoch}"
            )
        if chunks * self.collector.actors < self.ppo.minibatches:
            raise ValueError(
                f"ppo.minibatches {self.ppo.minibatches} must be at most the chunks of a round, "
                f"{self.collector.actors} actors x {chunks}"
            )
        return self


class SacConfig(BaselineConfig):
    """SAC, without memory."""

    trainer: Literal["sac"]
    sac: SacLearnerConfig

    @property
    def updates(self) -> int:
        """Gradient steps of the whole run, but for the first, random timesteps."""
        c = self.collector
        rounds = c.epochs * c.steps_per_epoch // self.sac.train_frequency
        random = self.sac.random_steps // (c.actors * self.sac.train_frequency)
        return max(0, rounds - random) * self.sac.gradient_steps

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.collector.steps_per_epoch % self.sac.train_frequency:
            raise ValueError(
                f"sac.train_frequency {self.sac.train_frequency} must divide "
                f"collector.steps_per_epoch {self.collector.steps_per_epoch}"
            )
        return self


TRAINERS: dict[str, type[BaselineConfig]] = {"ppo_gru": PpoGruConfig, "sac": SacConfig}
"""By the name of the module in `workflow.baselines`."""


def kind_of(given: Mapping[str, Any], source: str) -> type[RunConfig]:
    """Whose configuration it is: AMAGO-2's, or that of the trainer which it names.

    Raises `ConfigError`, with the `source`'s name, for an unknown one.
    """
    name = given.get("trainer")
    if name is None:
        return AmagoConfig
    if name not in TRAINERS:
        allowed = ", ".join(TRAINERS)
        raise ConfigError(f"{source}: trainer is {name!r}: must be one of {allowed}, or left out")
    return TRAINERS[name]


def load_run(path: Path) -> RunConfig:
    """A run's complete configuration, whatever trains it."""
    return load_as(kind_of(read_yaml(path), str(path)), path)


def trainer(config: RunConfig) -> list[str]:
    """Module that trains it, and its first argument if there is one."""
    name = getattr(config, "trainer", None)
    return [f"workflow.baselines.{name}"] if name else ["amago2.cli", "train"]
