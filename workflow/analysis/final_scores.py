"""Final scores as small JSON files, for `dvc metrics show` and `dvc metrics diff`.

Made from an experiment's tidy evaluations, for `results/<budget>/metrics`: one file for each
benchmark, cell and evaluation set, one key for each variant, so that DVC's table has a row for each
file and a column for each variant. A score is the mean return over tasks at a run's last step, then
over seeds; tasks are not put to a common scale.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

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


def to_json(scores: Mapping[str, float]) -> str:
    """The text of one file."""
    return json.dumps(scores, indent=1, sort_keys=True) + "\n"
