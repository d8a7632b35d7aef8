"""How much is spent on an experiment: the content of `params/budgets/<name>.yaml`."""

from typing import Any

from pydantic import Field

from amago2.config.fields import Name
from amago2.config.layers import Section

DEFAULT = "smoke"
"""The budget of commands that name none."""
PUBLISHED = "paper"
"""The budget that has the paper's own settings."""


class Disclaimer(Section):
    """What figures, tables and the report say of a budget that is too small to give results."""

    badge: str = Field(min_length=1)
    """Behind the budget's name on figures and in captions, such as `not a result`."""
    report: str = Field(min_length=1)
    """The first sentence of the report, without a full stop."""
    exempt: tuple[Name, ...] = ()
    """Experiments that are trained enough to show their effect even so."""
    beside: Name | None = None
    """A larger budget, whose flagship figure the report shows beside this one's, if it is there."""


class Budget(Section):
    """How much is spent, and what is said of it."""

    title: str = Field(min_length=1)
    purpose: str = ""
    """What it is for: a cell of the README's table."""
    takes: str = ""
    """How long it takes: a cell of the README's table."""
    disclaimer: Disclaimer | None = None
    """None: what comes out are results."""
    all: dict[str, Any] = {}
    """Laid over every benchmark's configuration."""
    benchmarks: dict[str, dict[str, Any]] = {}
    """Laid over that benchmark's configuration."""
