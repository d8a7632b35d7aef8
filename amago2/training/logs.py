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

from amago2.printing import plain
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
        with self.path.open("ab") as file:
            file.write(csv_text(rows))

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size


def csv_text(rows: Iterable[Iterable[Any]]) -> bytes:
    """Lines of a CSV file, which reads back to the same text whatever is in it.

    Half of a surrogate pair, which UTF-8 cannot hold, becomes its escape.
    """
    text = io.StringIO(newline="")
    unquoted = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        cells = list(row)
        returned = any("\r" in cell for cell in cells if isinstance(cell, str))
        # QUOTE_MINIMAL overlooks it.
        writer = quoted if returned else unquoted
        writer.writerow(cells)
    return text.getvalue().encode(errors="backslashreplace")


class TensorBoard:
    """Scalars for TensorBoard, by environment step."""

    def __init__(self, folder: Path) -> None:
        self.writer = EventFileWriter(str(folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values by tag."""
        tags = ((plain(name), value) for name, value in values.items())
        summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in tags])
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()


def evaluation_rows(rows: Iterable[EvaluationRow], step: int) -> list[tuple[Any, ...]]:
    """Rows of `evaluations.csv`."""
    return [(r.split, r.rollout, r.task, r.attempt, step, r.metric, repr(r.value)) for r in rows]
