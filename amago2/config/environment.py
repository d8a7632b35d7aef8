"""Which environment is trained on, in all the forms in which people name one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from amago2.config.fields import IMPORT_PATH, ImportPath, Positive, Split
from amago2.config.layers import Section

NAMING = ("id", "entry_point", "mixture")
"""Keys of which one names the environment."""
OF_IT = (
    "kwargs",
    "wrappers",
    "vectorization",
    "eval_sets",
    "max_episode_steps",
    "action_mask",
    "metrics",
)
"""Keys that belong to the environment that is named, and go when another kind of name comes."""
REGISTERED_BY = {"ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}
"""Modules that register ids with Gymnasium, by how the ids begin."""
_ID = r"([A-Za-z_][\w.]*:)?([\w.-]+/)?[\w.-]+"


def _gymnasium_id(text: str) -> str:
    if not re.fullmatch(_ID, text):
        raise ValueError("must be an id such as CartPole-v1, ALE/Pong-v5 or my_module:MyEnv-v0")
    return text


GymnasiumId = Annotated[
    str, AfterValidator(_gymnasium_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID}$"})
]


def _part(given: Any) -> Any:
    """The whole form of a part, whose import path may have a dot instead of the colon."""
    if isinstance(given, str):
        given = {given: {}}
    if not isinstance(given, Mapping):
        return given
    if len(given) != 1:
        raise ValueError("must be an import path, or a mapping of one to keyword arguments")
    ((path, kwargs),) = given.items()
    if isinstance(path, str) and ":" not in path:
        path = ":".join(path.rsplit(".", 1))
    return {path: {} if kwargs is None else kwargs}


Part = Annotated[
    dict[ImportPath, dict[str, Any]],
    BeforeValidator(_part),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
    ),
]


def in_full(env: Any) -> Any:
    """The mapping that is meant by an environment's name alone, or by a list of environments."""
    if isinstance(env, str):
        return {"entry_point" if re.fullmatch(IMPORT_PATH, env) else "id": env}
    return {"mixture": list(env)} if isinstance(env, list | tuple) else env


def lay_environment(old: Any, new: Any) -> Any:
    """What is left of the section `env` below a layer with `new`: another name ends the old one."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return old
    named, naming = (
        [key for key in NAMING if section.get(key) is not None] for section in (old, new)
    )
    if not naming or not named or naming == named:
        return old
    return {key: value for key, value in old.items() if key not in (*NAMING, *OF_IT)}


def _metric(name: str) -> str:
    if name in KNOWN_METRICS:
        raise ValueError(f"must not be {', '.join(KNOWN_METRICS)}, which are read anyway")
    return name


KNOWN_METRICS = ("return", "attempt_return", "success", "attempt", "task")
Metric = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_metric)]


def _without_nulls(sets: Any) -> Any:
    if not isinstance(sets, dict):
        return sets
    return {key: own for key, own in sets.items() if own is not None}


EvalSets = Annotated[
    dict[Split, dict[str, Any]],
    BeforeValidator(_without_nulls, json_schema_input_type=dict[Split, dict[str, Any] | None]),
    Field(min_length=1),
]


class OneEnvironment(Section):
    """An environment by its id or import path, and what is put around it."""

    id: GymnasiumId | None = None
    """Of an environment that is registered with Gymnasium, with the module that registers it unless
    that is Gymnasium itself: `CartPole-v1`, `my_module:MyEnv-v0`."""
    entry_point: ImportPath | None = None
    """Import path, `module:Class` or `module:function`, of what makes the environment."""
    kwargs: dict[str, Any] = {}
    wrappers: tuple[Part, ...] | None = None
    """Import paths, each alone or with keyword arguments; the first one is the innermost."""
    max_episode_steps: Positive | None = None
    """Timesteps after which a rollout is truncated. If null, the environment ends them itself, or
    the limit applies with which Gymnasium's registry lists its class."""

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        return in_full(given)

    @property
    def name(self) -> str:
        """What it is called in sentences and tables."""
        return self.entry_point or self.id or ""

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that are imported to make it."""
        return tuple(dict.fromkeys(self._modules()))

    def _modules(self) -> Iterator[str]:
        if self.entry_point:
            yield self.entry_point.partition(":")[0]
        if self.id:
            yield registering_module(self.id)
        for wrapper in self.wrappers or ():
            yield from (path.partition(":")[0] for path in wrapper)

    @property
    def harmless(self) -> bool:
        """Whether it is Gymnasium's own, with arguments that can name neither file nor module."""
        plain = all(isinstance(value, bool | int | float) for value in self.kwargs.values())
        return self.modules == ("gymnasium",) and self.wrappers is None and plain


class MixtureMember(OneEnvironment):
    """One environment of a mixture."""

    label: str | None = Field(None, min_length=1, max_length=100)
    """Its task's name; if null, the environment's."""
    weight: float = Field(1.0, gt=0)
    """How often it is drawn for a training rollout, relative to the others."""

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.id is None) == (self.entry_point is None):
            raise ValueError("must have one of id and entry_point")
        return self


class EnvironmentConfig(OneEnvironment):
    """What to train on: an id, an import path, or a list of environments as a mixture.

    A name alone, or a list, may stand for the whole section.
    """

    mixture: tuple[MixtureMember, ...] | None = Field(None, min_length=2)
    """Environments of which each rollout has one, drawn by weight; each is a task."""
    vectorization: Literal["sync", "async", "vector_entry_point"] | None = None
    """With `id`: made by `gymnasium.make_vec`, which steps all actors' environments together."""
    action_mask: Literal["info"] | None = None
    """Where masks of the allowed actions are, unless an observation has the key `action_mask`."""
    metrics: tuple[Metric, ...] | None = None
    """Keys of infos: the last number of each in an evaluation rollout is a metric of that name."""
    eval_sets: EvalSets = {"train": {}}
    """Evaluation sets by name: keyword arguments laid over `kwargs` for each. One that is null is
    left out: so a layer takes away a set of the one below."""
    processes: Positive | None = None
    """Worker processes for the environments; if null, the training process steps them."""
    step_timeout_s: float | None = Field(600.0, gt=0)
    """Seconds after which a call of an environment that has not returned ends the run; null: none.
    Changes no result, so it is not part of the run's hash."""

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        given = [key for key in NAMING if getattr(self, key) is not None]
        if not given:
            raise ValueError(
                "must name an environment: id, such as CartPole-v1, or entry_point, such as "
                "my_module:MyEnv"
            )
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}, of which there must be one")
        if self.vectorization and not self.id:
            raise ValueError("vectorization goes with id only")
        if self.vectorization and (self.wrappers or self.processes or self.action_mask):
            raise ValueError(
                "vectorization excludes wrappers, processes and action_mask, which are for "
                "environments that are stepped one by one"
            )
        return self

    @property
    def name(self) -> str:
        """What it is called in sentences and tables."""
        return super().name or f"mixture of {', '.join(m.name for m in self.mixture or ())}"

    def _modules(self) -> Iterator[str]:
        yield from super()._modules()
        for member in self.mixture or ():
            yield from member.modules

    @property
    def harmless(self) -> bool:
        """Whether all of it is: see `OneEnvironment.harmless`."""
        sets = [value for own in self.eval_sets.values() for value in own.values()]
        plain = all(isinstance(value, bool | int | float) for value in sets)
        if self.mixture:
            return plain and self.wrappers is None and all(m.harmless for m in self.mixture)
        return plain and super().harmless


def registering_module(env_id: str) -> str:
    """The module that registers an id with Gymnasium, as far as the id tells."""
    module, colon, name = env_id.rpartition(":")
    known = (found for begin, found in REGISTERED_BY.items() if name.startswith(begin))
    return module if colon else next(known, "gymnasium")


def labels_of(members: Sequence[MixtureMember]) -> list[str]:
    """A different label for each member of a mixture."""
    found: list[str] = []
    for member in members:
        name = member.label or member.name.rpartition(":")[2]
        count = sum(each == name or each.startswith(f"{name} #") for each in found)
        found.append(f"{name} #{count + 1}" if count else name)
    return found
