"""The paper's claims as `params/claims.yaml` states them, before any run is made.

A claim is a sum of scores of some agents less that of others, and what it must be to hold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from amago2.config.documents import read_yaml
from amago2.config.fields import Name
from amago2.config.layers import Layer, Section, merge
from amago2.config.validation import shown, validate
from amago2.errors import ConfigError
from workflow.config.budgets import PUBLISHED
from workflow.config.catalog import REFERENCE
from workflow.config.parameters import Parameters, unknown


class ScoreOf(Section):
    """Whose score: an agent's, on tasks and at an attempt of its rollouts."""

    experiment: Name
    benchmark: Name
    variant: Name
    cell: Name = "default"
    split: Name | None = None
    tasks: tuple[str, ...] = ()
    """All of them if none is named."""
    attempt: int | None = Field(None, ge=0)
    """All of them if none is named."""


class Bounds(Section):
    """What the number must be: above, below, or `within` so much of the published one."""

    above: float | None = None
    below: float | None = None
    within: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        bounds = self.above is not None or self.below is not None
        if bounds == (self.within is not None):
            raise ValueError("give `above` and `below` or one of them, or `within` alone")
        return self


class Published(Section):
    """The paper's own number."""

    value: float
    source: str
    """A file of `workflow/reference`."""


class Claim(Section):
    """One claim."""

    title: str = Field(min_length=1)
    statistic: Literal["mean", "median", "solved"] = "mean"
    """Over tasks, of scores in percent; `solved` counts tasks of which 2/3 of attempts succeed."""
    plus: tuple[ScoreOf, ...] = Field(min_length=1)
    minus: tuple[ScoreOf, ...] = ()
    holds: Bounds
    published: Published | None = None
    decided_at: tuple[Name, ...] = (PUBLISHED,)
    """Budgets that are large enough to decide it; others show what they found, without verdict."""
    control: bool = False
    """Made to come out as not reproduced; if it does not, no verdict can be trusted."""

    @model_validator(mode="after")
    def _has_what_it_is_compared_with(self) -> Self:
        if self.holds.within is not None and self.published is None:
            raise ValueError("`within` needs a published value")
        return self

    def bounds(self) -> tuple[float | None, float | None]:
        """Between which numbers the claim holds."""
        if self.holds.within is None or self.published is None:
            return self.holds.above, self.holds.below
        return self.published.value - self.holds.within, self.published.value + self.holds.within


def read(params: Path) -> dict[str, Claim]:
    """All claims by name, in the file's order. Raises `ConfigError`."""
    path = params / "claims.yaml"
    found, parameters = {}, Parameters(params)
    for name, given in read_yaml(path).items():
        source = f"{path}, {name}"
        if not isinstance(given, dict) or not isinstance(name, str):
            raise ConfigError(f"{source}: must be a mapping with a name, not {shown(given)}")
        data = _with_common(given, source)
        claim = validate(Claim, data, [Layer(source, data)])
        _check_names(claim, source, parameters)
        if claim.published and not (REFERENCE / claim.published.source).is_file():
            raise ConfigError(f"{source}: {claim.published.source} is no file of {REFERENCE.name}/")
        found[name] = claim
    return found


def _check_names(claim: Claim, source: str, parameters: Parameters) -> None:
    """Experiments may be missing: a claim on one that is not there stays undecided."""
    agents = (*claim.plus, *claim.minus)
    for kind, names in (
        ("budget", list(claim.decided_at)),
        ("benchmark", [agent.benchmark for agent in agents]),
        ("variant", [agent.variant for agent in agents]),
    ):
        known = parameters.names(f"{kind}s")
        for name in names:
            # A variant's scores of another cell stand beside it under its name with a suffix.
            if known and not (name in known or name.rpartition("_")[0] in known):
                raise ConfigError(unknown(f"{kind} {name}", name, known, source))


def _with_common(given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The claim with its `of`, what its agents have in common, in each agent."""
    data, common = dict(given), given.get("of", {})
    if not isinstance(common, dict):
        raise ConfigError(f"{source}: of is {shown(common)}: must be a mapping of keys to values")
    data.pop("of", None)
    for side in ("plus", "minus"):
        if isinstance(data.get(side), list):
            data[side] = [
                merge(common, agent) if isinstance(agent, dict) else agent for agent in data[side]
            ]
    return data
