"""Final scores as nested JSON, for `dvc metrics show` and `dvc metrics diff`.

    python -m workflow.metrics results/<budget> <experiment>

Reads the experiment's tidy evaluations, writes `metrics/<experiment>.json`: of each run's last
step, the mean return over tasks, then over seeds, as
{benchmark: {cell: {variant: {split: {"return": ..., "seeds": ...}}}}}. Tasks are not put to a
common scale.
"""

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow.files import write_atomically

WHOLE = "-1"
"""The attempt that stands for the whole rollout."""


def final_scores(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Nested scores of evaluation rows."""
    runs: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["metric"] == "return" and row["attempt"] == WHOLE:
            place = tuple(row[key] for key in ("benchmark", "cell", "variant", "split", "run"))
            runs[place][int(row["step"])].append(float(row["value"]))
    seeds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for place, steps in sorted(runs.items()):
        seeds[place[:-1]].append(_mean(steps[max(steps)]))
    nested: dict[str, Any] = {}
    for (benchmark, cell, variant, split), values in seeds.items():
        cells = nested.setdefault(benchmark, {}).setdefault(cell, {}).setdefault(variant, {})
        cells[split] = {"return": _mean(values), "seeds": len(values)}
    return nested


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.metrics", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("experiment")
    given = parser.parse_args(arguments)
    source = given.results / "tables" / "data" / f"{given.experiment}.evaluations.csv"
    with source.open(newline="", encoding="utf-8") as file:
        scores = final_scores(csv.DictReader(file))
    target = given.results / "metrics" / f"{given.experiment}.json"
    write_atomically(target, json.dumps(scores, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
