"""Sizes of a run's observations and actions, as its benchmark's description gives them."""

from math import prod

from amago2.config.schema import ImageEncoderConfig, RunConfig
from amago2.footprint import Shapes
from workflow.benchmarks.description import Array, Benchmark
from workflow.benchmarks.lookup import benchmarks

ITEM_BYTES = {"uint8": 1, "int32": 4, "float32": 4}
TYPICAL = Shapes(record_bytes=200, discrete=True, actions=12)
TYPICAL_IMAGE = Shapes(record_bytes=12_300, image=(64, 64, 3), discrete=True, actions=12)
"""Of benchmarks that are not described."""
LABELLED = "envs.task_label:TaskLabel"
"""Adds a number for each task to the observation."""


def shapes(config: RunConfig) -> Shapes:
    """Those of the benchmark at the paper's settings, with the task's label if it is shown."""
    described = benchmarks().get(config.benchmark)
    if described is None or described.actions is None:
        is_image = isinstance(getattr(config, "timestep_encoder", None), ImageEncoderConfig)
        return TYPICAL_IMAGE if is_image else TYPICAL
    label = described.tasks + described.held_out_tasks
    label_bytes = 4 * label * (config.env.name == LABELLED)
    images = [array.shape for array in described.observations.values() if len(array.shape) == 3]
    return Shapes(
        _record_bytes(described) + label_bytes,
        max(images, default=()),
        described.actions.kind == "discrete",
        described.actions.size,
    )


def simulated(config: RunConfig) -> str:
    """Entry point of the environment that is stepped, also where another adds labels to it."""
    inner = config.env.kwargs.get("of")
    return f"envs.{inner}" if config.env.name == LABELLED else config.env.name


def _record_bytes(described: Benchmark) -> int:
    """As `amago2.replay.shards.record_type` has it."""
    assert described.actions is not None
    kind, size = described.actions.kind, described.actions.size
    action = {"discrete": 2, "continuous": 4 * size, "multibinary": size}[kind]
    reward, terminated, time = 4, 1, 4
    observed = sum(map(_array_bytes, described.observations.values()))
    return observed + action + reward + terminated + time


def _array_bytes(array: Array) -> int:
    return prod(array.shape) * ITEM_BYTES[array.dtype]
