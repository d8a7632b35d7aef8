"""The view of a run that trains, in a terminal: progress, and curves by task."""

import csv
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from amago2 import run_record
from amago2.errors import ConfigError
from amago2.files import read_json
from amago2.printing import plain
from amago2.rollout.evaluate import WHOLE_ROLLOUT
from amago2.training.scratch import default_scratch

EVERY_S = 2.0
POINTS = 40
"""Characters of a curve, and of the bar, at most."""
NUMBERS = 44
"""Characters that the numbers beside a curve may take."""
BARS = "▁▂▃▄▅▆▇█"
MAX_TASKS = 60
Curve = list[tuple[int, float]]
"""Environment steps and values."""


def watch(run: Path, once: bool = False) -> None:
    """Show a run until it is finished, or once.

    `run` is its folder, whether it is finished or not, or its scratch folder. Raises `ConfigError`
    if there is no run.
    """
    console = Console()
    if once or _finished(run):
        console.print(_view(run, console.width))
        return
    view = _view(run, console.width)
    with Live(view, console=console, auto_refresh=False, transient=False) as live:
        while not _finished(run):
            time.sleep(EVERY_S)
            live.update(_view(run, console.width), refresh=True)


def _finished(run: Path) -> bool:
    return (run / run_record.NAME).exists()


def _view(run: Path, width: int) -> RenderableType:
    folder = next((f for f in (run, default_scratch(run)) if (f / "metrics.csv").exists()), None)
    if folder is None:
        raise ConfigError(f"{run}: no run is here, or it has not begun (no metrics.csv)")
    table = Table("task", "", box=None)
    for name in ("least", "most", "last", "steps"):
        table.add_column(name, justify="right")
    curves = {f"training, {task}": c for task, c in _training(folder / "metrics.csv").items()}
    curves |= {f"evaluation, {task}": c for task, c in _evaluations(folder).items()}
    shown = list(curves.items())[:MAX_TASKS]
    longest = max((len(plain(name)) for name, _ in shown), default=0)
    points = max(8, min(POINTS, width - longest - NUMBERS))
    for name, curve in shown:
        values = [value for _, value in curve]
        table.add_row(
            plain(name),
            Text(drawn(values, points), style="cyan"),
            f"{min(values):.4g}",
            f"{max(values):.4g}",
            f"{values[-1]:.4g}",
            f"{curve[-1][0]:,}",
        )
    rest = len(curves) - MAX_TASKS
    notes = [Text(f"and {rest} more")] if rest > 0 else []
    return Group(*_progress(run, folder), table, *notes)


def _progress(run: Path, folder: Path) -> list[RenderableType]:
    if _finished(run):
        return [Text(f"{run}: finished")]
    known = read_json(folder / "progress.json")
    try:
        done, steps = float(known["done"]), int(known["env_steps"])
        head = f"{run}: {known['phase']}, {steps:,} steps, {int(known['updates']):,} updates"
        seen = (folder / "progress.json").stat().st_mtime
    except (KeyError, TypeError, ValueError, OSError):
        return [Text(f"{run}: has just begun")]
    idle = time.time() - seen
    if idle > 60:
        head += f"; nothing new for {idle:.0f} s"
    bar = Table.grid()  # which ends its line, as a bar alone does not
    bar.add_row(ProgressBar(total=1.0, completed=done, width=POINTS))
    return [Text(plain(head)), bar]


def _training(path: Path) -> dict[str, Curve]:
    """Mean return of training rollouts by task."""
    curves: dict[str, Curve] = {}
    for row in _rows(path, "step", "name", "key", "value"):
        if row["name"] == "train_return":
            curves.setdefault(row["key"], []).append((int(row["step"]), float(row["value"])))
    return curves


def _evaluations(folder: Path) -> dict[str, Curve]:
    """Mean return of evaluation rollouts by set and task."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in _rows(folder / "evaluations.csv", "split", "task", "attempt", "step", "value"):
        if int(row["attempt"]) == WHOLE_ROLLOUT and row["metric"] == "return":
            key = f"{row['task']} ({row['split']})", int(row["step"])
            found.setdefault(key, []).append(float(row["value"]))
    curves: dict[str, Curve] = {}
    for (name, step), values in found.items():
        curves.setdefault(name, []).append((step, sum(values) / len(values)))
    return curves


def _rows(path: Path, *columns: str) -> Iterable[dict[str, Any]]:
    """Whole rows of a table that is being written."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        if all(row.get(column) is not None for column in columns):
            yield row


def drawn(values: list[float], points: int = POINTS) -> str:
    """A curve as characters, of which each is the mean of its share of the values."""
    count = min(points, len(values))
    ends = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, high = min(means), max(means)
    if high == low:
        return BARS[0] * count
    return "".join(BARS[int((mean - low) / (high - low) * (len(BARS) - 1))] for mean in means)
