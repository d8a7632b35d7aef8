"""How accurate plans were: planned and real durations, in `results/<budget>/durations.csv`.

It has a row for each `make reproduce` whose plan can be compared: those that trained everything
planned on this machine's cores without being interrupted.
"""

import csv
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.analysis.tidy import open_csv, to_csv
from workflow.estimate.hardware import cores

COLUMNS = ("ended", "runs", "targets", "cores", "planned_s", "took_s", "ratio")
TOLERANCE = 1.5
"""The factor, up or down, by which a plan may be off."""


class Forecast(NamedTuple):
    """A plan made just before the work begins."""

    runs: int
    targets: int
    """Tables, figures and lists."""
    seconds: float


def record_comparison(results: Path, planned: Forecast, took_s: float) -> str:
    """Append a comparison to the budget's file, and return it as a sentence."""
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
    """The comparison in words."""
    ratio = took_s / planned_s
    verdict = "within" if 1 / TOLERANCE <= ratio <= TOLERANCE else "NOT within"
    times = f"planned {planned_s:.0f} s, took {took_s:.0f} s"
    return f"{times}: {ratio:.2f} of the plan, {verdict} a factor of {TOLERANCE:g}"


def last_comparison(results: Path) -> str | None:
    """The last comparison of a budget in words; None if there is none."""
    if not (rows := _rows(results / "durations.csv")):
        return None
    row = rows[-1]
    situation = f"{row['ended'][:10]}, {row['runs']} runs on {row['cores']} cores"
    comparison = sentence(float(row["planned_s"]), float(row["took_s"]))
    return f"Last time ({situation}): {comparison}."


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of the file; none without a file. Raises `ConfigError` if it holds anything else."""
    try:
        with open_csv(path) as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error):
        rows = [{}]
    if not all(map(_is_comparison, rows)):
        raise ConfigError(f"{path}: is not a table of planned and real durations; delete it")
    return rows


def _is_comparison(row: Mapping[str, object]) -> bool:
    try:
        times = [float(str(row[name])) for name in ("planned_s", "took_s", "ratio")]
    except (KeyError, ValueError):
        return False
    return row.keys() == {*COLUMNS} and all(0 < time < math.inf for time in times)
