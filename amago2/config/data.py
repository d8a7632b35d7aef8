"""What is learned from besides the run's own replay: trajectories that somebody else collected."""

from typing import Self

from pydantic import Field, model_validator

from amago2.config.layers import Section

ROUNDING = 1e-9
"""Of a sum of shares."""


class DataSource(Section):
    """Trajectories of the same observation and action spaces: see docs/data.md."""

    replay: str | None = Field(None, min_length=1)
    """Folder of a finished run, whose replay is used."""
    minari: str | None = Field(None, min_length=1)
    """Id of a Minari data set that is on this machine, such as `D4RL/door/human-v2`."""
    share: float = Field(gt=0, le=1)
    """Of each batch's sub-sequences. What all sources leave is for the run's own replay; if they
    leave nothing, nothing is collected, and environments are made for evaluation only."""

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.replay is None) == (self.minari is None):
            raise ValueError("must have one of replay and minari")
        return self

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return self.replay or self.minari or ""


def online_share(sources: tuple[DataSource, ...] | None) -> float:
    """What sources leave of each batch for the run's own replay: 1 without any, 0 if nothing.

    Raises `ValueError` if they share out more than there is.
    """
    total = sum(source.share for source in sources or ())
    if total > 1 + ROUNDING:
        raise ValueError(f"shares add up to {total:g}, and must to 1 at most")
    return 0.0 if total > 1 - ROUNDING else 1 - total
