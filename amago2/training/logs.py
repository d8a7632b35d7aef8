"""What a run logs: tidy CSV tables and TensorBoard events."""

import csv
import io
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from amago2.rollout.evaluate import EvaluationRow

METRICS = ("step", "name", "key", "value")
EVALUATIONS = ("split", "rollout", "task", "attempt", "step", "metric", "value")
PROBE = ("split", "source", "step", "timestep", "accuracy", "chance", "tasks", "rollouts")
COMPUTE = ("time_s", "step", "update", "name", "value")


class CsvLog:
    """A CSV file that a resumed run truncates to its length at the checkpoint."""

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
    """Scalars for TensorBoard, by environment step."""

    def __init__(self, folder: Path) -> None:
        self.writer = EventFileWriter(str(folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values by tag."""
        summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()


def evaluation_rows(rows: Iterable[EvaluationRow], step: int) -> list[tuple[Any, ...]]:
    """Rows of `evaluations.csv`."""
    return [(r.split, r.rollout, r.task, r.attempt, step, r.metric, repr(r.value)) for r in rows]
