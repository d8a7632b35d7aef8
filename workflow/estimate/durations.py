"""What reproductions were planned to take, and what they took: `results/<budget>/durations.csv`.

One row for each `make reproduce` that could be compared: it trained all that it planned on this
machine's cores, without being interrupted.
"""

import csv
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from amago2.files import write_atomically
from workflow.analysis.tidy import to_csv
from workflow.estimate.hardware import cores

COLUMNS = ("ended", "runs", "targets", "cores", "planned_s", "took_s", "ratio")
WITHIN = 1.5
"""The factor, up or down, that a plan may be off."""


class Forecast(NamedTuple):
    """A plan, made just before the work begins."""

    runs: int
    targets: int
    """Tables, figures and lists."""
    seconds: float


def record(results: Path, planned: Forecast, took_s: float) -> str:
    """Add a row to the budget's file; returns the comparison as a sentence."""
    seconds, took = round(planned.seconds, 1), round(took_s, 1)
    row = {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "runs": planned.runs,
        "targets": planned.targets,
        "cores": cores(),
        "planned_s": seconds,
        "took_s": took,
        "ratio": round(took_s / planned.seconds, 3),
    }
    path = results / "durations.csv"
    write_atomically(path, to_csv(COLUMNS, [*_rows(path), row]))
    return sentence(seconds, took)


def sentence(planned_s: float, took_s: float) -> str:
    """How a plan held."""
    ratio = took_s / planned_s
    held = "within" if 1 / WITHIN <= ratio <= WITHIN else "NOT within"
    times = f"planned {planned_s:.0f} s, took {took_s:.0f} s"
    return f"{times}: {ratio:.2f} of the plan, {held} a factor of {WITHIN:g}"


def last(results: Path) -> str | None:
    """How the last plan of a budget held; None if none was compared."""
    if not (rows := _rows(results / "durations.csv")):
        return None
    row = rows[-1]
    said = sentence(float(row["planned_s"]), float(row["took_s"]))
    return f"Last time ({row['ended'][:10]}, {row['runs']} runs on {row['cores']} cores): {said}."


def _rows(path: Path) -> list[dict[str, str]]:
    with suppress(FileNotFoundError), path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
    return []
