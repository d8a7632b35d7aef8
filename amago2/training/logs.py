"""What a run writes while it goes: tidy CSV logs, TensorBoard events, progress, compute use."""

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from amago2.files import write_atomically
from amago2.rollout.evaluate import EvaluationRow

METRICS = ("step", "name", "key", "value")
EVALUATIONS = ("split", "rollout", "task", "attempt", "step", "metric", "value")
PROBE = ("split", "source", "step", "timestep", "accuracy", "chance", "tasks", "rollouts")
COMPUTE = ("time_s", "step", "update", "name", "value")


class Log:
    """A CSV file that a resumed run cuts back to where its checkpoint was made."""

    def __init__(self, path: Path, columns: tuple[str, ...], length: int | None = None) -> None:
        """Start afresh, or keep the first `length` bytes."""
        self.path = path
        if length is None:
            path.write_text(",".join(columns) + "\n", encoding="utf-8")
        else:
            os.truncate(path, length)

    def append(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows; floats in the shortest form that reads back to the same value."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size


class TensorBoard:
    """Scalars for TensorBoard, stamped with the step."""

    def __init__(self, folder: Path) -> None:
        self.writer = EventFileWriter(str(folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values by tag."""
        summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()


class Gpu:
    """NVML's view of one device; without a driver, nothing."""

    def __init__(self, wanted: bool) -> None:
        self.handle: Any = None
        if wanted:
            import pynvml
            import torch

            self.nvml = pynvml
            try:
                pynvml.nvmlInit()
                uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
                self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            except pynvml.NVMLError:
                self.handle = None
        self._joules_at_start = self._told().get("gpu_joules", 0.0)

    def sample(self) -> dict[str, float]:
        """Utilisation (share), memory (bytes), power (watts), energy since the start (joules).

        What the device does not tell is left out: not every card tells all.
        """
        found = self._told()
        if "gpu_joules" in found:
            found["gpu_joules"] -= self._joules_at_start
        return found

    def _told(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self.handle is None:
            return found
        nvml = self.nvml
        asked: dict[str, Callable[[Any], float]] = {
            "gpu_util": lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "gpu_memory_bytes": lambda gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
            "gpu_watts": lambda gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
            "gpu_joules": lambda gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
        }
        for name, ask in asked.items():
            with suppress(nvml.NVMLError):
                found[name] = ask(self.handle)
        return found

    @property
    def name(self) -> str | None:
        """Name of the device, None without one."""
        return None if self.handle is None else str(self.nvml.nvmlDeviceGetName(self.handle))


class Progress:
    """`progress.json`, at most every two seconds, for whoever watches the run."""

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self.epochs = path, epochs
        self.started = time.monotonic()
        self._written = -10.0
        self._began: float = 0.0  # share that was done before this process

    def resume(self, epoch: int) -> None:
        """Count from here when the time left is estimated."""
        self._began = epoch / self.epochs

    def report(
        self, phase: str, epoch: int, env_steps: int, updates: int, within: float = 0.0
    ) -> None:
        """`within` is how far the present epoch is, 0 to 1."""
        now = time.monotonic()
        if now - self._written < 2:
            return
        self._written = now
        content = {
            "phase": phase,
            "done": min(1.0, (epoch + within) / self.epochs),
            "epoch": epoch,
            "epochs": self.epochs,
            "env_steps": env_steps,
            "updates": updates,
            "elapsed_s": round(now - self.started, 1),
            "began": self._began,
        }
        write_atomically(self.path, json.dumps(content) + "\n")
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self._line(content)}", end="", file=sys.stderr, flush=True)

    def _line(self, content: Mapping[str, Any]) -> str:
        """For a person at a terminal."""
        share, elapsed = content["done"] - self._began, content["elapsed_s"]
        left = elapsed * (1 - content["done"]) / share if share > 0 else float("nan")
        return (
            f"epoch {content['epoch']}/{self.epochs} ({content['phase']}), "
            f"{content['env_steps']:,} steps, {content['updates']:,} updates, "
            f"{elapsed:.0f} s, about {left:.0f} s left"
        )


def evaluation_rows(rows: Iterable[EvaluationRow], step: int) -> list[tuple[Any, ...]]:
    """Rows of `evaluations.csv`."""
    return [(r.split, r.rollout, r.task, r.attempt, step, r.metric, repr(r.value)) for r in rows]


def peak_rss_bytes() -> int:
    """Peak resident memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)
