"""Run folders to tidy tables: what figures and tables read, and git keeps."""

import csv
import io
import itertools
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from amago2 import run_record
from amago2.config.documents import read_yaml
from amago2.errors import ConfigError
from amago2.files import MAX_JSON_BYTES, open_regular, write_together
from workflow.analysis.final_scores import final_scores, to_json

RUN = ("experiment", "benchmark", "variant", "cell", "seed", "run")
COLUMNS: dict[str, tuple[str, ...]] = {
    "runs": (
        *RUN, "state", "training_version", "git_commit", "git_dirty", "lock_sha256",
        "container_digest", "resumed", "settings",
    ),
    "evaluations": (
        *RUN, "split", "task", "attempt", "step", "metric", "value", "rollouts",
    ),
    "metrics": (*RUN, "step", "name", "key", "value"),
    "probe": (
        *RUN, "split", "source", "step", "timestep", "accuracy", "chance", "tasks", "rollouts",
    ),
    "compute": (
        *RUN, "state", "resumptions", "planned_s", "wall_s", "cpu_s", "env_steps", "updates",
        "steps_per_s", "updates_per_s", "peak_rss_bytes", "gpu_name", "gpu_peak_bytes",
        "gpu_mean_util", "gpu_joules", "cpu",
    ),
}  # fmt: skip
PROVENANCE_KEYS = (
    "training_version", "git_commit", "git_dirty", "lock_sha256", "container_digest", "resumed",
)  # fmt: skip
"""Of a run's record, what the report marks and shows."""
POINTS = 400
"""Most steps of one metric that are kept: a figure shows no more, and git should not hold more."""
MAX_CSV_BYTES = 2**28
"""Metrics of the paper's longest runs take some tens of megabytes."""
KEYED_POINTS = 100
"""The same for metrics that have one value per task or bin."""

Row = dict[str, Any]


def tabulate(experiment: Mapping[str, Any], results: Path) -> dict[str, list[Row]]:
    """Rows of every tidy table of an experiment, run by run; `results` is the budget's folder."""
    tables: dict[str, list[Row]] = {kind: [] for kind in COLUMNS}
    keys = ("benchmark", "variant", "cell", "seed", "hash")
    for entry in sorted(experiment["runs"], key=lambda e: tuple(e[key] for key in keys)):
        folder = results / "runs" / _run_name(entry)
        labels = {key: entry[key] for key in ("benchmark", "variant", "cell", "seed")}
        labels = {"experiment": experiment["experiment"], **labels, "run": entry["hash"]}
        for kind, rows in _run_tables(folder).items():
            tables[kind] += [labels | row for row in rows]
    return tables


def _run_name(entry: Mapping[str, Any]) -> str:
    return f"{entry['benchmark']}/{entry['variant']}/seed{entry['seed']}-{entry['hash']}"


def _run_tables(folder: Path) -> dict[str, list[Row]]:
    """Tables of one run, from files that are as its record says.

    The record is written last, so without it the run is not finished. Raises `RunError` if a file
    is missing or damaged, `ConfigError` if one that is whole cannot be understood.
    """
    if not os.path.lexists(folder / run_record.NAME):
        return {"runs": [{"state": "missing"}], "compute": list(_unfinished(folder))}
    record = run_record.check(folder)
    try:
        return _finished(folder, record)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{folder}: its tables are not those of a run ({what})") from None


def _finished(folder: Path, record: Mapping[str, Any]) -> dict[str, list[Row]]:
    made = {key: record.get(key) for key in PROVENANCE_KEYS}
    return {
        "runs": [{"state": "finished", **made, "settings": settings(folder / "config.yaml")}],
        "evaluations": list(mean_over_rollouts(_read_csv(folder / "evaluations.csv"))),
        "metrics": list(thin(_read_csv(folder / "metrics.csv"))),
        "probe": _read_csv(probe) if (probe := folder / "probe.csv").is_file() else [],
        "compute": [cost(record, _read_csv(folder / "compute.csv"))],
    }


def settings(path: Path) -> str:
    """What a figure says of how a run was made smaller: environment and Transformer, as JSON.

    Baselines have no Transformer.
    """
    if not path.is_file():
        return ""
    config = read_yaml(path)
    labels = {"kind": "kind", "width": "width", "layers": "layers", "context_length": "context"}
    shown = {"environment": config["env"]["kwargs"]}
    if given := config.get("trajectory_encoder"):
        shown["trajectory"] = {label: given[key] for key, label in labels.items() if key in given}
    return json.dumps(shown)


def mean_over_rollouts(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """One row per (split, task, attempt, step, metric) with the mean and the number of rollouts.

    Sums are exactly rounded, so that the order of the rollouts cannot change a digit.
    """
    groups: dict[tuple[str, str, int, int, str], list[float]] = defaultdict(list)
    for row in rows:
        key = row["split"], row["task"], int(row["attempt"]), int(row["step"]), row["metric"]
        groups[key].append(float(row["value"]))
    names = ("split", "task", "attempt", "step", "metric")
    for group in sorted(groups):
        values = groups[group]
        mean = math.fsum(values) / len(values)
        yield dict(zip(names, group, strict=True)) | {"value": mean, "rollouts": len(values)}


def thin(rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Metric rows by name, key and step, at most `POINTS` of each, evenly spaced, the last kept."""
    series: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for row in rows:
        series[row["name"], row["key"]][int(row["step"])] = row["value"]
    for name, key in sorted(series):
        steps = sorted(series[name, key])
        every = -(-len(steps) // (KEYED_POINTS if key else POINTS))
        for step in reversed(steps[::-1][::every]):
            value = float(series[name, key][step])
            yield {"step": step, "name": name, "key": key, "value": value}


def cost(record: Mapping[str, Any], telemetry: Iterable[Mapping[str, str]]) -> Row:
    """What a run took; rates are over the whole run, waiting and evaluation included."""
    keys = ("planned_s", "wall_s", "cpu_s", "env_steps", "updates", "peak_rss_bytes", "cpu")
    row = {key: record.get(key) for key in keys}
    row |= {"state": "finished", "resumptions": record.get("resumptions")}
    wall = record.get("wall_s")
    for rate, count in (("steps_per_s", "env_steps"), ("updates_per_s", "updates")):
        row[rate] = record[count] / wall if wall and count in record else None
    return row | _gpu_cost(record.get("gpu") or {}, telemetry)


def _unfinished(folder: Path) -> Iterator[Row]:
    """What a run that failed, or goes on, has taken since it was last started, if it ever was."""
    digest, results = folder.name.rpartition("-")[2], folder.parents[3]
    progress = results / ".scratch" / digest / "progress.json"
    if progress.is_file():
        content = _read_json(progress)
        counts = {key: content.get(key) for key in ("env_steps", "updates")}
        yield {"state": "unfinished", "wall_s": content.get("elapsed_s"), **counts}


def _gpu_cost(gpu: Mapping[str, Any], telemetry: Iterable[Mapping[str, str]]) -> Row:
    samples: dict[str, list[float]] = defaultdict(list)
    for row in telemetry:
        samples[row["name"]].append(float(row["value"]))
    load = samples["gpu_util"]
    return {
        "gpu_name": gpu.get("name"),
        "gpu_peak_bytes": max(samples["gpu_memory_bytes"], default=None),
        "gpu_mean_util": math.fsum(load) / len(load) if load else None,
        "gpu_joules": _energy(samples["gpu_joules"]),
    }


def _energy(counter: Sequence[float]) -> float | None:
    """The counter's last reading; it starts again at zero whenever the run was resumed."""
    if not counter:
        return None
    ends = [now for now, after in itertools.pairwise(counter) if after < now]
    return math.fsum([*ends, counter[-1]])


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV text with floats in full (their shortest exact form); None is an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def open_csv(path: Path) -> TextIO:
    """Open a table that somebody else may have made; see `open_regular`."""
    return io.TextIOWrapper(open_regular(path, MAX_CSV_BYTES), "utf-8", newline="")


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with open_csv(path) as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, though the run beside it is finished") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path, MAX_JSON_BYTES) as file:
            content = json.loads(file.read(MAX_JSON_BYTES))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable JSON: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content


def _read_experiment(path: Path) -> dict[str, Any]:
    experiment = _read_json(path)
    lacking = [key for key in ("experiment", "runs") if key not in experiment]
    if lacking:
        raise ConfigError(f"{path}: key {lacking[0]} is missing; it is written by the planner")
    return experiment


def write(listing: Path, results: Path, scores: Sequence[str] = ()) -> None:
    """Write all that is made of an experiment's runs below a budget's folder, or nothing of it.

    That is its list of runs (`experiments/`, a copy of `listing`), its tidy tables (`tables/data/`)
    and those final scores (`metrics/`). Raises `ConfigError` for a file that is missing or cannot
    be read.
    """
    experiment = _read_experiment(listing)
    name = experiment["experiment"]
    tables = {
        kind: to_csv(COLUMNS[kind], rows) for kind, rows in tabulate(experiment, results).items()
    }
    final = final_scores(name, csv.DictReader(io.StringIO(tables["evaluations"])))
    write_together(
        {
            results / "experiments" / f"{name}.json": listing.read_bytes(),
            **{results / "tables" / "data" / f"{name}.{k}.csv": text for k, text in tables.items()},
            **{results / "metrics" / file: to_json(final.get(file, {})) for file in scores},
        }
    )
