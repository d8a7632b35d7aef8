"""Made-up finished runs, for tests and for looking at figures; never an input of anything kept."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow.tabulate import to_csv

Entry = dict[str, object]
SKILL = {"ind_actor_ind_critic": 1.0, "dep_actor_ind_critic": 0.6}


def learning(step: int, last: int, speed: float) -> float:
    """A made-up learning curve from 0 to 1."""
    return float(1 - np.exp(-4 * speed * step / last))


def write_experiment(
    folder: Path,
    name: str,
    runs: Sequence[tuple[str, str, str, int]],
    tasks: dict[str, dict[str, tuple[float, float]]],
    steps: Sequence[int],
    missing: Sequence[int] = (),
    rollouts: int = 2,
) -> Path:
    """An experiment's file and its runs; `tasks`: cell to task to (worst return, best return)."""
    entries: list[Entry] = []
    for place, (benchmark, variant, cell, seed) in enumerate(runs):
        digest = f"{zlib.crc32(repr((benchmark, variant, cell, seed)).encode()):08x}"
        path = f"runs/{benchmark}/{variant}/seed{seed}-{digest}"
        entries.append(
            {"benchmark": benchmark, "variant": variant, "cell": cell, "seed": seed,
             "hash": digest, "path": path}
        )  # fmt: skip
        if place not in missing:
            _write_run(folder / path, entries[-1], tasks[cell], steps, rollouts)
    target = folder / "experiments" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"experiment": name, "title": name, "budget": folder.name, "runs": entries}
    target.write_text(json.dumps(content))
    return target


def _write_run(
    folder: Path,
    entry: Entry,
    tasks: dict[str, tuple[float, float]],
    steps: Sequence[int],
    rollouts: int,
) -> None:
    rng = np.random.default_rng(int(str(entry["hash"]), 16))
    folder.mkdir(parents=True)
    skill = SKILL.get(str(entry["variant"]), 0.3)
    rows = []
    for step in steps:
        for task, (low, high) in tasks.items():
            reached = learning(step, steps[-1], skill * (1 + 0.3 * rng.standard_normal()))
            for rollout in range(rollouts):
                value = low + (high - low) * min(1, max(0, reached + 0.03 * rng.standard_normal()))
                common = {"split": "train", "rollout": rollout, "task": task, "step": step}
                for attempt, metric in ((-1, "return"), (0, "attempt_return")):
                    own = {"attempt": attempt, "metric": metric, "value": repr(value)}
                    rows.append(common | own)
    columns = ("split", "rollout", "task", "attempt", "step", "metric", "value")
    (folder / "evaluations.csv").write_text(to_csv(columns, rows))
    metrics = [
        {"step": step, "name": "loss_critic", "key": "", "value": repr(1 / (1 + step))}
        for step in steps
    ]
    (folder / "metrics.csv").write_text(to_csv(("step", "name", "key", "value"), metrics))
    (folder / "compute.csv").write_text("time_s,step,update,name,value\n0.5,10,1,rss_bytes,1000\n")
    record = {
        "training_version": 1, "git_commit": "0" * 40, "wall_s": 61.5, "cpu_s": 60.0, "gpu": None,
        "env_steps": steps[-1], "updates": 2000, "peak_rss_bytes": 2**29,
    }  # fmt: skip
    (folder / "config.yaml").write_text(
        "env: {args: {tasks: [a, b], horizon: 300}}\n"
        "trajectory: {kind: transformer, width: 64, layers: 2, context: 32, dropout: 0.1}\n"
    )
    (folder / "record.json").write_text(json.dumps(record))
