"""Speed, power and price of processors and GPUs: the table `params/hardware.yaml`."""

import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from amago2.config.documents import read_yaml
from amago2.config.layers import Layer, Section
from amago2.config.validation import validate

PATH = Path("params") / "hardware.yaml"


class Processor(Section):
    """Speed of one thread of the machine on which runs were measured."""

    kernel_s: float = Field(gt=0)
    """Of the calibration kernel."""
    start_s: float = Field(ge=0)
    """Loading PyTorch and the simulators, which a run's own times do not count."""
    flops: float = Field(gt=0)
    """Floating-point operations of updates per second."""
    step_s: dict[str, float]
    """Of an environment step, by entry point; collecting, storing and evaluation included."""
    other_step_s: float = Field(gt=0)


class Accelerator(Section):
    """A GPU."""

    device: str = Field(min_length=1)
    """Part of the name that the driver gives it."""
    peak: dict[Literal["float32", "tfloat32", "bfloat16"], float]
    """Its highest rate in operations per second, by precision of matrix products."""
    flops: float = Field(gt=0)
    """Floating-point operations of large updates per second."""
    updates_per_s: float = Field(gt=0)
    """At most, however small they are."""
    steps_per_s: float = Field(gt=0)
    """Environment steps of all actors per second."""
    watts: float = Field(gt=0)
    usd_per_hour: float = Field(ge=0)
    source: str = Field(min_length=1)


class Hardware(Section):
    """The content of `params/hardware.yaml`."""

    processor: Processor
    gpus: dict[str, Accelerator] = Field(min_length=1)


@cache
def hardware() -> Hardware:
    """The project's table, read once. Raises `ConfigError`."""
    data = read_yaml(PATH)
    return validate(Hardware, data, [Layer(str(PATH), data)])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
