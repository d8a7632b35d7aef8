"""What a run logs: tidy CSV tables and TensorBoard events."""

import csv
import hashlib
import io
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from amago2.errors import CONTINUES, RunError
from amago2.files import naming, open_regular, sha256, sync
from amago2.printing import plain
from amago2.rollout.evaluate import EvaluationRow

METRICS = ("step", "name", "key", "value")
EVALUATIONS = ("split", "rollout", "task", "attempt", "step", "metric", "value")
PROBE = ("split", "source", "step", "timestep", "accuracy", "chance", "tasks", "rollouts")
COMPUTE = ("time_s", "step", "update", "name", "value")


class CsvLog:
    """A CSV file that a resumed run cuts to what it was at the checkpoint."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        """Start afresh."""
        self.path = path
        self._length, self._digest = 0, hashlib.sha256()
        with naming(path):
            path.write_bytes(b"")
        self.append([columns])

    @classmethod
    def resume(cls, path: Path, saved: Mapping[str, Any]) -> "CsvLog":
        """Go on after what was `saved`; see `check`."""
        log = cls.__new__(cls)
        log.path, log._length = path, saved["length"]
        log._digest = _digest(path, log._length)
        os.truncate(path, log._length)
        return log

    def append(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows; floats in the shortest form that reads back to the same value."""
        content = csv_text(rows)
        with naming(self.path), self.path.open("ab") as file:
            file.write(content)
        self._length += len(content)
        self._digest.update(content)

    def save(self) -> dict[str, Any]:
        """Flush to disk; returns length and SHA-256 for a checkpoint. Raises `RunError`."""
        sync(self.path)
        if self.path.stat().st_size != self._length:
            raise RunError(
                f"{self.path}: was changed by another program during the run; {CONTINUES}"
            )
        return {"length": self._length, "sha256": self._digest.hexdigest()}


def check_log(path: Path, saved: Mapping[str, Any]) -> None:
    """Raise `RunError` unless the file begins with what `CsvLog.save` told of it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise RunError(f"{path}: is missing") from None
    if size < saved["length"]:
        raise RunError(f"{path}: is damaged (it is shorter than at the checkpoint)")
    if _digest(path, saved["length"]).hexdigest() != saved["sha256"]:
        raise RunError(f"{path}: is damaged (its SHA-256 is not the recorded one)")


def describe_log(path: Path) -> dict[str, Any]:
    """What `CsvLog.save` tells of a whole file."""
    return {"length": path.stat().st_size, "sha256": sha256(path)}


def _digest(path: Path, length: int) -> "hashlib._Hash":
    """SHA-256 of a file's first bytes."""
    digest = hashlib.sha256()
    with naming(path), open_regular(path) as file:
        while part := file.read(min(length, 2**20)):
            digest.update(part)
            length -= len(part)
    return digest


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
    """Scalars for TensorBoard, by environment step.

    Written at once: TensorBoard's own writer has a thread, which prints a traceback on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        """Begin a new file in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values by tag."""
        tags = ((plain(name), value) for name, value in values.items())
        summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in tags])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Each value is written at once: there is nothing left to do."""

    def _write(self, event: Event) -> None:
        with naming(self.path), self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def evaluation_rows(rows: Iterable[EvaluationRow], step: int) -> list[tuple[Any, ...]]:
    """Rows of `evaluations.csv`."""
    return [(r.split, r.rollout, r.task, r.attempt, step, r.metric, repr(r.value)) for r in rows]
