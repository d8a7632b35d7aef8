"""Disk space of each run, before it is trained: what DVC versions, and its scratch folder.

A stored timestep has the size that the benchmark's description gives (docs/versions.md). The sizes
in the pointers of finished runs correct the estimates.
"""

import statistics
from collections.abc import Iterable
from typing import NamedTuple

from amago2.config.schema import AmagoConfig, ImageEncoderConfig, RunConfig
from amago2.footprint import MAX_SHARD_BYTES, memory_bytes, scratch_timesteps, stored_timesteps
from workflow.benchmarks.lookup import benchmark, benchmarks
from workflow.dag.pointers import read_pointer
from workflow.dag.runs import Run
from workflow.estimate import network
from workflow.estimate.shapes import shapes

VECTOR_BYTES, IMAGE_BYTES = 50, 500
"""Of a timestep in published replay, compressed, in benchmarks that are not described."""
ROW_BYTES = 24
"""Of a trajectory's row beside its timesteps."""
BASELINE_BYTES = 2e6
"""A baseline's checkpoint; it has no replay."""


class Disk(NamedTuple):
    """Bytes that DVC versions."""

    checkpoint: float = 0
    replay: float = 0

    @property
    def total(self) -> float:
        """Both together."""
        return self.checkpoint + self.replay


def disk_of_runs(runs: Iterable[Run]) -> Disk:
    """Bytes of all these runs: those of their pointers if they are versioned, else estimates."""
    runs = list(runs)
    corrections = _corrections(runs)
    parts = [_of_run(run, corrections) for run in runs]
    return Disk(sum(part.checkpoint for part in parts), sum(part.replay for part in parts))


def estimate(config: RunConfig) -> Disk:
    """Rough bytes of a run's checkpoint, and of its replay if that is versioned."""
    if not isinstance(config, AmagoConfig):
        return Disk(BASELINE_BYTES)
    replay = stored_timesteps(config) * _timestep_bytes(config)
    return Disk(_checkpoint_bytes(config), replay if config.checkpoint.with_replay else 0.0)


def _checkpoint_bytes(config: AmagoConfig) -> float:
    """Trained parameters, the optimiser's two averages of each, target heads, actors' memory."""
    weights = 4.0 * (3 * network.parameters(config) + network.heads(config))
    return weights + memory_bytes(config, config.collector.actors)


def scratch_bytes(config: RunConfig) -> int:
    """Most bytes of a run's scratch folder, which goes when the run is finished.

    Replay is not compressed there, and keeps what the oldest kept checkpoint needs.
    """
    keep = config.checkpoint.keep + 1
    if not isinstance(config, AmagoConfig):
        return int(BASELINE_BYTES * keep)
    record = shapes(config).record_bytes
    length = config.replay.chunk_length or config.trajectory_encoder.context_length
    replay = scratch_timesteps(config) * (record * (1 + 1 / length) + ROW_BYTES / length)
    open_shard = min(MAX_SHARD_BYTES, config.replay.shard_size * record, replay)
    return int(replay + keep * (_checkpoint_bytes(config) + open_shard))


def _timestep_bytes(config: AmagoConfig) -> float:
    if config.benchmark in benchmarks():
        return benchmark(config.benchmark).stored_bytes
    return IMAGE_BYTES if isinstance(config.timestep_encoder, ImageEncoderConfig) else VECTOR_BYTES


def _of_run(run: Run, corrections: dict[tuple[str, str], float]) -> Disk:
    versioned = _versioned_bytes(run)
    parts = {}
    for part, size in estimate(run.config)._asdict().items():
        factor = corrections.get((part, run.config.benchmark), 1)
        parts[part] = versioned.get(part) or size * factor
    return Disk(**parts)


def _versioned_bytes(run: Run) -> dict[str, float]:
    """By part, as the run's pointers say."""
    found = {path.stem: read_pointer(path.with_suffix("")) for path in run.pointers}
    return {part: float(pointer.size) for part, pointer in found.items() if pointer}


def _corrections(runs: Iterable[Run]) -> dict[tuple[str, str], float]:
    """Factors by part and benchmark: the median ratio of real and estimated sizes."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        estimated = estimate(run.config)._asdict()
        for part, size in _versioned_bytes(run).items():
            if size and estimated[part]:
                key = part, run.config.benchmark
                ratios.setdefault(key, []).append(size / estimated[part])
    return {key: statistics.median(values) for key, values in ratios.items()}
