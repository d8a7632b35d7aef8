"""Final scores as small JSON files, for `dvc metrics show` and `dvc metrics diff`.

    python -m workflow.analysis.final_scores results/<budget> <experiment> FILE...

Reads the experiment's tidy evaluations and writes those of `results/<budget>/metrics`: one file
for each benchmark, cell and evaluation set, one key for each variant, so that DVC's table has a
row for each file and a column for each variant. A score is the mean return over tasks at a run's
last step, then over seeds; tasks are not put to a common scale.
"""

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from amago2.files import write_atomically

WHOLE = "-1"
"""The attempt that stands for the whole rollout."""


def file_name(experiment: str, benchmark: str, cell: str, split: str) -> str:
    """Without the parts that say nothing."""
    own = [benchmark] if benchmark != experiment else []
    own += [cell] if cell != "default" else []
    return ".".join([experiment, *own, split, "json"])


def final_scores(experiment: str, rows: Iterable[Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """Scores of evaluation rows, by file and variant."""
    runs: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["metric"] == "return" and row["attempt"] == WHOLE:
            place = tuple(row[key] for key in ("benchmark", "cell", "split", "variant", "run"))
            runs[place][int(row["step"])].append(float(row["value"]))
    seeds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for place, steps in sorted(runs.items()):
        seeds[place[:-1]].append(_mean(steps[max(steps)]))
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for (benchmark, cell, split, variant), values in seeds.items():
        scores[file_name(experiment, benchmark, cell, split)][variant] = _mean(values)
    return scores


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.analysis.final_scores", description=__doc__
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("files", nargs="*", help="what to write, as named by `file_name`")
    given = parser.parse_args(arguments)
    source = given.results / "tables" / "data" / f"{given.experiment}.evaluations.csv"
    with source.open(newline="", encoding="utf-8") as file:
        scores = final_scores(given.experiment, csv.DictReader(file))
    for name in given.files:
        content = json.dumps(scores.get(name, {}), indent=1, sort_keys=True) + "\n"
        write_atomically(given.results / "metrics" / name, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
