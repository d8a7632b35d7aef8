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


Precision = Literal["float32", "tfloat32", "bfloat16"]
"""Of matrix products."""


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


class Host(Section):
    """What the host of a GPU takes, however fast the GPU is."""

    update_s: float = Field(gt=0)
    """Of an update: to launch its kernels."""
    act_s: float = Field(gt=0)
    """Of a step of all actors: to launch the policy's kernels and to wait for its actions."""
    batch_bytes_per_s: float = Field(gt=0)
    """At which a batch is read from replay and unpacked."""
    step_s: dict[str, float]
    """Of an environment step alone, by entry point, on one core."""
    other_step_s: float = Field(gt=0)


class Accelerator(Section):
    """A GPU."""

    device: str = Field(min_length=1)
    """Part of the name that the driver gives it."""
    memory: float = Field(gt=0)
    """Bytes."""
    peak: dict[Precision, float] = Field(min_length=1)
    """Its highest rate in operations per second, by precision of matrix products."""
    bandwidth: float = Field(gt=0)
    """Of its memory, in bytes per second."""
    flops: dict[Precision, float] = {}
    """Floating-point operations of updates per second, as measured; else of `peak` and
    `bandwidth`."""
    watts: float = Field(gt=0)
    usd_per_hour: float = Field(ge=0)
    source: str = Field(min_length=1)
    """Of the rates."""

    def rate(self, precision: Precision) -> float:
        """Operations of an update per second: float32's if the card lacks the precision."""
        if precision not in self.peak:
            precision = "float32"
        if precision in self.flops:
            return self.flops[precision]
        moved = BYTES_PER_OPERATION[precision] / self.bandwidth
        return 1 / (1 / (SHARE_OF_PEAK * self.peak[precision]) + moved)


SHARE_OF_PEAK = 0.5
"""Of the highest rate, which the products of an update reach: assumed."""
BYTES_PER_OPERATION: dict[Precision, float] = {
    "float32": 0.065,
    "tfloat32": 0.065,
    "bfloat16": 0.045,
}
"""Moved to and from the GPU's memory. The paper's updates read and write 0.1 bytes an operation
(0.08 to 0.13), 0.07 in bfloat16, as counted by PyTorch's dispatcher; two thirds of that explain the
rate that is published for an RTX A5000: the rest stays in caches."""


class Hardware(Section):
    """The content of `params/hardware.yaml`."""

    processor: Processor
    host: Host
    gpus: dict[str, Accelerator] = Field(min_length=1)


@cache
def hardware() -> Hardware:
    """The project's table, read once. Raises `ConfigError`."""
    data = read_yaml(PATH)
    return validate(Hardware, data, [Layer(str(PATH), data)])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
