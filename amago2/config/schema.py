"""One training run's complete configuration: schema, layering, canonical hash.

Imports no heavy library. A configuration is the result of laying partial YAML mappings over each
other (`amago2.config.layers`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from amago2.config.data import DataSource, online_share
from amago2.config.documents import dump_yaml, read_yaml
from amago2.config.environment import EnvironmentConfig as EnvironmentConfig
from amago2.config.environment import Part, in_full, lay_environment
from amago2.config.fields import Fraction, ImportPath, Name, Natural, Positive, Switch
from amago2.config.layers import Layer, Section, merge
from amago2.config.networks import (
    FeedForwardConfig as FeedForwardConfig,
)
from amago2.config.networks import (
    FeedForwardEncoderConfig as FeedForwardEncoderConfig,
)
from amago2.config.networks import (
    GridLanguageEncoderConfig as GridLanguageEncoderConfig,
)
from amago2.config.networks import (
    GruConfig as GruConfig,
)
from amago2.config.networks import (
    ImageEncoderConfig as ImageEncoderConfig,
)
from amago2.config.networks import TimestepEncoderConfig, TrajectoryEncoderConfig
from amago2.config.networks import (
    TransformerConfig as TransformerConfig,
)
from amago2.config.plain import canonical, plain
from amago2.config.validation import validate
from amago2.errors import ConfigError

TRAINING_VERSION = 3
"""Raised whenever a change of the training code changes results."""


class AgentConfig(Section):
    """The four variants are `actor` x `critic`; the rest is common to them (paper, Section 3)."""

    actor: Literal["filtered_imitation", "policy_gradient"]
    critic: Literal["two_hot", "popart"]
    discounts: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.1, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999), min_length=1
    )
    """Learned together; the policy of the last one acts."""
    num_critics: Positive = 4
    num_target_critics: Positive = 2
    """Critics drawn with replacement for each TD target."""
    head_hidden_sizes: tuple[Positive, ...] = Field((256, 256), min_length=1)
    bins: int = Field(64, ge=2)
    value_limit: float | tuple[float, float] = 1e5
    symlog: bool = True
    reward_multiplier: float = Field(10.0, gt=0)
    reward_input: Literal["raw", "symlog"] = "raw"
    """How the previous reward is given to the timestep encoder."""
    filter: Literal["binary", "exponential", "none"] = "binary"
    filter_threshold: float = 0.0
    probability_limits: tuple[Fraction, Fraction] = (0.001, 0.99)
    """Probabilities of discrete actions are clamped to these, then normalised."""
    value_samples: Positive = 3
    """Policy actions per estimate of the policy's value by the two-hot critic."""
    expectation: Literal["sampled", "exact"] = "sampled"
    """`exact` sums over all actions of a small discrete space where the paper samples."""
    target_rate: float = Field(0.003, gt=0, le=1)
    critic_loss_weight: float = Field(10.0, gt=0)
    popart_rate: float = Field(5e-4, gt=0, lt=1)
    n_step: Positive = 1

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if isinstance(self.value_limit, tuple) and self.value_limit[0] >= self.value_limit[1]:
            raise ValueError("value_limit must be [low, high] with low < high")
        if not isinstance(self.value_limit, tuple) and self.value_limit <= 0:
            raise ValueError("value_limit must be positive")
        if not 0 < self.probability_limits[0] < self.probability_limits[1]:
            raise ValueError("probability_limits must be [low, high] with 0 < low < high <= 1")
        return self


class LearnerConfig(Section):
    """Optimisation (paper, Table 1)."""

    batch_size: Positive
    """Sub-sequences per update."""
    learning_rate: float = Field(1e-4, gt=0)
    warmup_updates: Natural = 500
    """Updates over which the learning rate rises linearly to its value."""
    learning_rate_decay: Switch = None
    """Let the learning rate fall linearly from its value to 0 at the last update."""
    weight_decay: float = Field(1e-3, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    updates_per_epoch: Natural
    precision: Literal["float32", "tfloat32", "bfloat16"] | None = None
    """Of matrix products; losses, targets and statistics are always float32. tfloat32, which rounds
    the inputs of products to 10 bits of mantissa, exists on NVIDIA GPUs only. If null, tfloat32 on
    a GPU that has it (compute capability 8.0), else float32; a run's record says which."""
    shuffle_rewards: Switch = None
    """A negative control: each sampled batch's rewards are permuted, so nothing can be learned."""
    processes: int | None = Field(None, ge=2)
    """Processes that share each batch, each on its own GPU if `device` is cuda; results differ, in
    rounding and noise, between numbers of processes. If null, a single process."""
    gradient_accumulation: int | None = Field(None, ge=2)
    """Parts into which each batch is split. Their gradients, computed one after the other, add up
    to the batch's: the same but for rounding and noise, in a fraction of the memory. If null, the
    batch is not split."""
    cuda_graph: Switch = None
    """On a GPU, replay the Transformer's passes over batches of whole contexts as CUDA graphs,
    which spares the host half of its launches. The same kernels, so not part of the run's hash."""

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.batch_size % (self.processes or 1):
            raise ValueError(
                f"batch_size {self.batch_size} must be divisible by processes {self.processes}"
            )
        if self.batch_size % ((self.processes or 1) * (self.gradient_accumulation or 1)):
            times = f"processes {self.processes} times " if self.processes else ""
            raise ValueError(
                f"batch_size {self.batch_size} must be divisible by {times}"
                f"gradient_accumulation {self.gradient_accumulation}"
            )
        return self


class ExplorationConfig(Section):
    """Epsilon at the first step of a rollout and, if bilevel, at its last (linear in between)."""

    first_step_epsilon: tuple[Fraction, Fraction] = (1.0, 0.05)
    """Initial and final value, annealed over `anneal_steps` steps of each actor."""
    last_step_epsilon: tuple[Fraction, Fraction] | None = None
    horizon: Positive | None = None
    """Steps of a complete rollout; required with `last_step_epsilon`."""
    anneal_steps: Positive = 1_000_000
    randomize: bool = True
    """Scale each rollout's epsilon by a uniform draw."""
    entry_point: ImportPath | None = None
    """Exploration of one's own: `module:Class` or `module:function`, see docs/parts.md."""
    kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _bilevel(self) -> Self:
        if (self.last_step_epsilon is None) != (self.horizon is None):
            raise ValueError("last_step_epsilon and horizon belong together: give both or neither")
        return self


class CollectorConfig(Section):
    """How much is collected. In an epoch, steps are collected, then updates made."""

    actors: Positive
    steps_per_epoch: Positive
    """Environment steps of each actor in an epoch."""
    epochs: Positive
    warmup_epochs: Natural = 0
    """Epochs that only collect, before the first update."""
    asynchronous: Switch = None
    """Collect during the updates, in a separate process (on its own GPU if one more is visible than
    the learner uses), with the weights from the start of the epoch, for later epochs' updates."""
    exploration: ExplorationConfig = ExplorationConfig()


class ReplayConfig(Section):
    """First in, first out; trajectories are sampled uniformly."""

    capacity: Positive
    unit: Literal["timesteps", "trajectories"] = "timesteps"
    chunk_length: Positive | None = None
    """Mean timesteps of the chunks into which rollouts are cut; if null, they are stored whole."""
    shard_size: Positive = 100_000
    """Timesteps per file."""


class ProbeConfig(Section):
    """A linear probe for the task in the policy's hidden state, at the end of training."""

    rollouts: Annotated[int, Field(gt=0, multiple_of=2)]
    """Of each task: one half to fit on, one half to test on."""
    l2_penalty: float = Field(0.01, gt=0)
    """On the squared weights."""


class EvaluationConfig(Section):
    """When and how much the policy is evaluated."""

    every: Positive
    """Epochs between evaluations during training."""
    rollouts: Positive
    """Rollouts per task and evaluation."""
    final_rollouts: Positive
    actors: Positive = 16
    probe: ProbeConfig | None = None


class CheckpointConfig(Section):
    """How often to save. Changes no result, so it is not part of the run's hash."""

    every: Positive = 10
    """Epochs between checkpoints."""
    keep: Positive = 2
    best: bool = False
    """Whether to keep, in the run's folder `best`, the policy of the best evaluation as well: that
    of the highest mean return in the first evaluation set, whatever the scales of its tasks."""
    with_replay: bool = True
    """Whether the pipeline versions the replay of the finished run, too."""


class RunConfig(Section):
    """Configuration that all runs have, whatever their trainer."""

    NOT_HASHED: ClassVar[dict[str, Any]] = {
        "checkpoint": True,
        "callbacks": True,
        "env": {"processes", "step_timeout_s"},
    }
    """Keys that change no result and so are not part of the run's hash."""

    training_version: Positive = TRAINING_VERSION
    """Of the training code; stored runs of other versions can be used, but not trained."""
    benchmark: Name = "custom"
    variant: Name = "custom"
    budget: Name = "custom"
    seed: Natural = 0
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Positive = 1
    """CPU threads of the learner; results differ in rounding between counts."""
    env: EnvironmentConfig
    collector: CollectorConfig
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    callbacks: tuple[Part, ...] | None = None
    """Import paths of what is told of evaluations and checkpoints, each alone or with keyword
    arguments: see docs/parts.md. They change no result, so they are not part of the run's hash."""

    @property
    def hash(self) -> str:
        """8 hexadecimal digits that name the run.

        Keys that are None are left out, so that a new option which is off by default renames no
        existing run.
        """
        return hashlib.sha256(canonical(self.hashed).encode()).hexdigest()[:8]

    @property
    def hashed(self) -> dict[str, Any]:
        """What the hash is made from, as plain data."""
        return _hashed(self, self.NOT_HASHED)

    @property
    def run_name(self) -> str:
        """Folder of the run below `results/<budget>/runs`."""
        return f"{self.benchmark}/{self.variant}/seed{self.seed}-{self.hash}"

    def to_yaml(self) -> str:
        """The whole configuration; loading it gives an equal one."""
        return dump_yaml(plain(self))


class AmagoConfig(RunConfig):
    """The complete configuration of an AMAGO-2 run."""

    NOT_HASHED: ClassVar[dict[str, Any]] = {**RunConfig.NOT_HASHED, "learner": {"cuda_graph"}}

    agent: AgentConfig
    timestep_encoder: TimestepEncoderConfig = FeedForwardEncoderConfig()
    trajectory_encoder: TrajectoryEncoderConfig
    learner: LearnerConfig
    replay: ReplayConfig
    data: tuple[DataSource, ...] | None = Field(None, min_length=1)
    """Trajectories of others to learn from, alone or besides the run's own: see docs/data.md."""

    initial_weights: str | None = Field(None, min_length=1)
    """Folder of a run or checkpoint to start from (fine-tuning), or a file of the official code's
    weights: see docs/data.md. The record of a run has their digest."""

    @field_validator("data")
    @classmethod
    def _shared_out(cls, data: tuple[DataSource, ...] | None) -> tuple[DataSource, ...] | None:
        online_share(data)
        return data

    @property
    def online(self) -> bool:
        """Whether environment steps are taken to learn from."""
        return online_share(self.data) > 0

    @model_validator(mode="after")
    def _exists(self) -> Self:
        if self.learner.precision == "tfloat32" and self.device != "cuda":
            raise ValueError("learner.precision tfloat32 exists on device cuda only")
        if self.learner.cuda_graph and self.trajectory_encoder.kind != "transformer":
            raise ValueError("learner.cuda_graph needs trajectory_encoder.kind transformer")
        if self.learner.cuda_graph and self.learner.gradient_accumulation:
            raise ValueError("learner.cuda_graph excludes learner.gradient_accumulation")
        if self.learner.gradient_accumulation and self.agent.filter == "exponential":
            raise ValueError(
                "learner.gradient_accumulation excludes agent.filter exponential, whose weights "
                "depend on the advantages of the whole batch"
            )
        if not self.online and self.collector.warmup_epochs:
            raise ValueError(
                "collector.warmup_epochs only collect, but data leave nothing to collect: set it "
                "to 0, or lower the shares of data"
            )
        return self


def _hashed(section: Section, left_out: Mapping[str, Any]) -> dict[str, Any]:
    """The section as plain data, without keys that are `left_out` or whose value is None."""
    content: dict[str, Any] = {}
    for name in type(section).model_fields:
        value, inner = getattr(section, name), left_out.get(name, {})
        if value is None or inner is True:
            continue
        if isinstance(value, Section):
            content[name] = _hashed(value, dict.fromkeys(inner, True))
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            content[name] = [_hashed(each, {}) for each in value]
        else:
            content[name] = plain(value)
    return content


RunConfigT = TypeVar("RunConfigT", bound=RunConfig)


def build_as(kind: type[RunConfigT], layers: Sequence[Layer]) -> RunConfigT:
    """Merge layers (later ones win) and validate. Raises `ConfigError`, one line per mistake."""
    layers = [_in_full(layer) for layer in layers]
    config = validate(kind, _merged(layers), layers)
    if config.training_version != TRAINING_VERSION:
        raise ConfigError(
            f"{layers[-1].source}: training_version is {config.training_version}, and this code is "
            f"version {TRAINING_VERSION}; leave the key out"
        )
    return config


def _merged(layers: Sequence[Layer]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for layer in layers:
        if "env" in data and "env" in layer.data:
            data["env"] = lay_environment(data["env"], layer.data["env"])
        data = merge(data, layer.data)
    return data


def _in_full(layer: Layer) -> Layer:
    """The layer, its environment in the form in which layers can be merged."""
    if "env" not in layer.data:
        return layer
    return Layer(layer.source, {**layer.data, "env": in_full(layer.data["env"])})


def load_as(
    kind: type[RunConfigT], path: Path | str, overrides: Sequence[Layer] = ()
) -> RunConfigT:
    """Load a complete configuration from one file, such as a run's `config.yaml`.

    `overrides` are laid over it. Raises `ConfigError`, also for one of another kind.
    """
    layer = _in_full(Layer(str(path), read_yaml(path)))
    if "trainer" in layer.data and "trainer" not in kind.model_fields:
        raise ConfigError(
            f"{path}: is a run of {layer.data['trainer']}, which is no AMAGO-2 agent; its scores "
            "are in evaluations.csv beside it"
        )
    layers = [layer, *map(_in_full, overrides)]
    return validate(kind, _merged(layers), layers)


def build(layers: Sequence[Layer]) -> AmagoConfig:
    """Build the configuration of an AMAGO-2 run; see `build_as`."""
    return build_as(AmagoConfig, layers)


def load(path: Path | str, overrides: Sequence[Layer] = ()) -> AmagoConfig:
    """Load the configuration of an AMAGO-2 run; see `load_as`."""
    return load_as(AmagoConfig, path, overrides)
