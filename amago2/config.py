"""One training run's complete configuration: schema, layering, canonical hash.

Imports no heavy library, so that planning a thousand runs takes moments. A configuration is the
result of laying partial YAML mappings over each other; every error names the file that set the key.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
_Model = TypeVar("_Model", bound=BaseModel)
_ABSENT = object()


class ConfigError(ValueError):
    """A parameter file or key is wrong. Its text is a clear sentence (or one line per mistake)."""


class RunError(RuntimeError):
    """A run cannot start or go on. Its text is a clear sentence."""


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Environment(Section):
    """What to train on, by import path: `module:Class`, a Gymnasium environment."""

    entry: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    args: dict[str, Any] = {}
    eval_sets: dict[str, dict[str, Any]] = {"train": {}}
    """Evaluation sets by name: keyword arguments laid over `args` for each."""
    processes: Positive | None = None
    """Worker processes for the environments; without, they are stepped by the trainer itself."""


class Agent(Section):
    """The four variants are `actor` x `critic`; the rest is common to them (paper, Section 3)."""

    actor: Literal["filtered_imitation", "policy_gradient"]
    critic: Literal["two_hot", "popart"]
    discounts: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.1, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999), min_length=1
    )
    """Learned together; the last one acts."""
    critics: Positive = 4
    critic_subset: Positive = 2
    """Members drawn with replacement for each TD target."""
    head_widths: tuple[Positive, ...] = Field((256, 256), min_length=1)
    bins: int = Field(64, ge=2)
    value_limit: float | tuple[float, float] = 1e5
    symlog: bool = True
    reward_multiplier: float = Field(10.0, gt=0)
    reward_input: Literal["raw", "symlog"] = "raw"
    """How the previous reward enters the timestep encoder."""
    filter: Literal["binary", "exponential", "none"] = "binary"
    filter_threshold: float = 0.0
    value_samples: Positive = 3
    """Policy actions per V(s) estimate with the two-hot critic."""
    expectation: Literal["sampled", "exact"] = "sampled"
    """`exact` sums over all actions of a small discrete space where the paper samples."""
    target_rate: float = Field(0.003, gt=0, le=1)
    critic_weight: float = Field(10.0, gt=0)
    popart_rate: float = Field(5e-4, gt=0, lt=1)
    n_step: Positive = 1

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if isinstance(self.value_limit, tuple) and self.value_limit[0] >= self.value_limit[1]:
            raise ValueError("value_limit must be [low, high] with low < high")
        if not isinstance(self.value_limit, tuple) and self.value_limit <= 0:
            raise ValueError("value_limit must be positive")
        return self


class FeedForwardEncoder(Section):
    """Timestep encoder for vectors: normalised, MLP, LayerNorm."""

    kind: Literal["ff"] = "ff"
    hidden: tuple[Positive, ...] = Field((512, 512), min_length=1)
    output: Positive = 256


class ImageEncoder(Section):
    """Timestep encoder for one image: a convolutional trunk, joined by reward and action."""

    kind: Literal["cnn"]
    trunk: Literal["impala", "nature"] = "impala"
    depths: tuple[Annotated[int, Field(gt=0, multiple_of=4)], ...] = Field(
        (16, 32, 32), min_length=1
    )
    """Channels of the IMPALA blocks; the groups of GroupNorm are 4."""
    features: Positive = 384
    output: Positive = 384
    augment: bool = True
    """Random shifts while learning."""


class GridLanguageEncoder(Section):
    """Timestep encoder for a symbolic grid, a sentence of tokens and a vector, by key."""

    kind: Literal["grid_language"]
    image: str = "image"
    tokens: str = "mission"
    vector: str = "extra"
    vocabulary: Positive = 31
    """Tokens, the padding included."""
    embedding: Positive = 18
    recurrent: Positive = 96
    language: Positive = 48
    output: Positive = 300


class TransformerTrajectory(Section):
    """The causal Transformer over timesteps (paper, Table 2)."""

    kind: Literal["transformer"] = "transformer"
    context: Positive
    """Longest sub-sequence learned from, in timesteps, and the policy's memory when it acts."""
    width: Positive = 256
    layers: Positive = 3
    heads: Positive = 8
    feedforward: Positive = 1024
    dropout: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and divisible by heads {self.heads}")
        return self


class Learner(Section):
    """Optimisation (paper, Table 1)."""

    batch: Positive
    """Sub-sequences per update."""
    learning_rate: float = Field(1e-4, gt=0)
    warmup: Natural = 500
    """Updates over which the learning rate rises linearly to its value."""
    weight_decay: float = Field(1e-3, ge=0)
    clip: float = Field(1.0, gt=0)
    updates_per_epoch: Natural


class Exploration(Section):
    """Epsilon at the first step of a rollout and, if bilevel, at its last (linear in between)."""

    first_step: tuple[Fraction, Fraction] = (1.0, 0.05)
    """From, to: annealed over `anneal_steps` steps of each actor."""
    last_step: tuple[Fraction, Fraction] | None = None
    horizon: Positive | None = None
    """Steps of a whole rollout; needed with `last_step`."""
    anneal_steps: Positive = 1_000_000
    randomize: bool = True
    """Scale each rollout's epsilon by a uniform draw."""

    @model_validator(mode="after")
    def _bilevel(self) -> Self:
        if (self.last_step is None) != (self.horizon is None):
            raise ValueError("last_step and horizon belong together: give both or neither")
        return self


class Collector(Section):
    """How much is collected; an epoch is collecting, then learning."""

    actors: Positive
    steps_per_epoch: Positive
    """Environment steps of each actor in an epoch."""
    epochs: Positive
    learn_after: Natural = 0
    """Epochs of collecting before the first update."""
    exploration: Exploration = Exploration()


class Replay(Section):
    """First in, first out; trajectories are sampled uniformly."""

    capacity: Positive
    unit: Literal["timesteps", "trajectories"] = "timesteps"
    piece: Positive | None = None
    """Longest stored trajectory; longer rollouts are cut at random lengths around it."""
    shard: Positive = 100_000
    """Timesteps per file."""


class Evaluation(Section):
    """When and how much the policy is evaluated."""

    every: Positive
    """Epochs between evaluations during training."""
    rollouts: Positive
    """Rollouts per task and evaluation."""
    final_rollouts: Positive
    actors: Positive = 16


class Checkpoint(Section):
    """Never changes a result, so it is no part of the run's hash."""

    every: Positive = 10
    """Epochs between checkpoints."""
    keep: Positive = 2


class Config(Section):
    """Everything that decides a run's result, and how it is kept."""

    training_version: Literal[1] = 1
    """Raised whenever a change of the training code changes results."""
    benchmark: str = Field("custom", pattern=r"^[a-z0-9_]+$")
    variant: str = Field("custom", pattern=r"^[a-z0-9_]+$")
    budget: str = Field("custom", pattern=r"^[a-z0-9_]+$")
    seed: Natural = 0
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Positive = 1
    """CPU threads of the learner; other counts give other bits."""
    env: Environment
    agent: Agent
    encoder: Annotated[
        FeedForwardEncoder | ImageEncoder | GridLanguageEncoder, Field(discriminator="kind")
    ] = FeedForwardEncoder()
    trajectory: TransformerTrajectory
    learner: Learner
    collector: Collector
    replay: Replay
    evaluation: Evaluation
    checkpoint: Checkpoint = Checkpoint()

    @property
    def hash(self) -> str:
        """8 hexadecimal digits that name the run.

        Keys that are None are left out, so that a new option which is off by default renames no
        existing run.
        """
        aside: Any = {"checkpoint": True, "env": {"processes"}}  # these change no result
        content = self.model_dump(mode="json", exclude=aside, exclude_none=True)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def run_name(self) -> str:
        """Folder of the run below `results/<budget>/runs`."""
        return f"{self.benchmark}/{self.variant}/seed{self.seed}-{self.hash}"

    def to_yaml(self) -> str:
        """The whole configuration; loading it gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


@dataclass(frozen=True)
class Layer:
    """A partial configuration and the name of its source, for error messages."""

    source: str
    data: Mapping[str, Any]


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, refusing a key given twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"key {twice[0]} is given twice in one mapping; keep one of them")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises `ConfigError` if it is missing, empty, not YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        data = yaml.load(text, _UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from None
    if not data:
        raise ConfigError(f"{path}: is empty; it must hold a mapping of keys to values")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: must hold a mapping of keys to values, not a {type(data).__name__}"
        )
    return data


def parse_override(text: str) -> Layer:
    """Turn `learner.learning_rate=3e-4` into a layer; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set {text}: must look like section.key=value")
    try:
        data: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text}: the value is not valid YAML") from None
    for part in reversed(key.split(".")):
        data = {part: data}
    return Layer(f"--set {text}", data)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`: mappings merge key by key, everything else is replaced.

    A mapping of another `kind` replaces the old one, whose keys it does not share.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and _same_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def build(layers: Sequence[Layer]) -> Config:
    """Merge layers (later ones win) and validate. Raises `ConfigError`, one line per mistake."""
    data: dict[str, Any] = {}
    for layer in layers:
        data = merge(data, layer.data)
    return validate(Config, data, layers)


def load(path: Path | str) -> Config:
    """A complete configuration from one file, as written beside every run."""
    return build([Layer(str(path), read_yaml(path))])


def validate(model: type[_Model], data: Mapping[str, Any], layers: Sequence[Layer]) -> _Model:
    """Validate `data` as `model`; a `ConfigError` names the layer that set the wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_sentence(model, dict(item), data, layers) for item in error.errors()]
    raise ConfigError("\n".join(dict.fromkeys(lines)))


def _sentence(
    model: type[BaseModel], item: dict[str, Any], data: Mapping[str, Any], layers: Sequence[Layer]
) -> str:
    keys = _data_keys(item["loc"], data)
    source, name = _source(keys, layers), ".".join(keys)
    if item["type"] == "extra_forbidden":
        allowed = _allowed(model, item["loc"][:-1])
        near = difflib.get_close_matches(keys[-1], allowed, n=1)
        hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(allowed)}"
        return f"{source}: unknown key {name}; {hint}"
    if item["type"] == "missing":
        return f"{source}: key {name} is missing and has no default"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = (message[0].lower() + message[1:]).replace("input should", "must")
    subject = (
        f"{name} is {item['input']!r}: " if name and not isinstance(item["input"], dict) else ""
    )
    return f"{source}: {subject or (name + ': ' if name else '')}{message}"


def _data_keys(loc: Sequence[int | str], data: Any) -> list[str]:
    """The location as keys of the data: without the tags that pydantic adds for unions."""
    keys: list[str] = []
    for position, part in enumerate(loc):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if not (isinstance(data, Mapping) and position == len(loc) - 1):
                continue
        keys.append(str(part))
    return keys


def _source(keys: Sequence[str], layers: Sequence[Layer]) -> str:
    """The last layer that sets the key or, failing that, the nearest section above it."""
    for depth in range(len(keys), 0, -1):
        for layer in reversed(layers):
            value: Any = layer.data
            for key in keys[:depth]:
                value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
            if value is not _ABSENT:
                return layer.source
    return layers[0].source if layers else "configuration"


def _allowed(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Names of the fields of the section at `loc`, where a union is followed by its tag."""
    inner: Any = model
    for part in loc:
        choices = get_args(inner)
        if choices:
            tagged = (m for m in choices if part in get_args(m.model_fields["kind"].annotation))
            inner = next(tagged)
        else:
            inner = inner.model_fields[part].annotation
    return list(inner.model_fields)
