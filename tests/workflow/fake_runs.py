"""Made-up finished runs, for tests and for looking at figures; never an input of anything kept."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from amago2.config.schema import TRAINING_VERSION
from tests.records import write_record
from workflow.analysis.tidy import to_csv

Entry = dict[str, object]
SKILL = {"ind_actor_ind_critic": 1.0, "dep_actor_ind_critic": 0.6}
BINS = 16
EVALUATIONS = ("split", "rollout", "task", "attempt", "step", "metric", "value")
METRICS = ("step", "name", "key", "value")
PROBE = ("split", "source", "step", "timestep", "accuracy", "chance", "tasks", "rollouts")


@dataclass(frozen=True)
class World:
    """What is evaluated: cell or benchmark to task to (worst, best) return of an attempt; when."""

    tasks: Mapping[str, Mapping[str, tuple[float, float]]]
    steps: Sequence[int]
    attempts: int = 1
    rollouts: int = 2
    splits: Mapping[str, str] = field(default_factory=dict)
    """Evaluation set of a task; `train` if it is not named."""
    success: bool = False
    probe: bool = False

    def of(self, entry: Entry) -> Mapping[str, tuple[float, float]]:
        """The tasks of a run."""
        return self.tasks.get(str(entry["cell"])) or self.tasks[str(entry["benchmark"])]


def learning(step: int, last: int, speed: float) -> float:
    """A made-up learning curve from 0 to 1."""
    return float(1 - np.exp(-4 * speed * step / last))


def write_experiment(
    folder: Path,
    name: str,
    runs: Sequence[tuple[str, str, str, int]],
    world: World,
    missing: Sequence[int] = (),
) -> Path:
    """An experiment's file and its runs (benchmark, variant, cell, seed), but for those missing."""
    entries: list[Entry] = []
    for place, (benchmark, variant, cell, seed) in enumerate(runs):
        digest = f"{zlib.crc32(repr((name, benchmark, variant, cell, seed)).encode()):08x}"
        path = f"runs/{benchmark}/{variant}/seed{seed}-{digest}"
        entries.append(
            {"benchmark": benchmark, "variant": variant, "cell": cell, "seed": seed,
             "hash": digest, "path": path}
        )  # fmt: skip
        if place not in missing:
            _write_run(folder / path, entries[-1], world)
    target = folder / "experiments" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"experiment": name, "title": name, "budget": folder.name, "runs": entries}
    target.write_text(json.dumps(content))
    return target


def _write_run(folder: Path, entry: Entry, world: World) -> None:
    rng = np.random.default_rng(int(str(entry["hash"]), 16))
    folder.mkdir(parents=True)
    (folder / "evaluations.csv").write_text(to_csv(EVALUATIONS, _evaluations(entry, world, rng)))
    (folder / "metrics.csv").write_text(to_csv(METRICS, _metrics(entry, world, rng)))
    if world.probe:
        (folder / "probe.csv").write_text(to_csv(PROBE, _probe(entry, world)))
    (folder / "compute.csv").write_text("time_s,step,update,name,value\n0.5,10,1,rss_bytes,1000\n")
    (folder / "config.yaml").write_text(
        "env: {kwargs: {tasks: [a, b], horizon: 300}}\n"
        "trajectory_encoder: {kind: transformer, width: 64, layers: 2, context_length: 32}\n"
    )
    record = {
        "training_version": TRAINING_VERSION, "git_commit": "0" * 40, "wall_s": 61.5, "cpu_s": 60.0,
        "gpu": None,
        "planned_s": 30.0, "env_steps": world.steps[-1], "updates": 2000, "peak_rss_bytes": 2**29,
    }  # fmt: skip
    write_record(folder, record | {"hash": entry["hash"]})


def _evaluations(
    entry: Entry, world: World, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    skill = SKILL.get(str(entry["variant"]), 0.3)
    for step in world.steps:
        for task, (low, high) in world.of(entry).items():
            reached = learning(step, world.steps[-1], skill * (1 + 0.3 * rng.standard_normal()))
            split = world.splits.get(task, "train")
            for rollout in range(world.rollouts):
                common = {"split": split, "rollout": rollout, "task": task, "step": step}
                parts = reached + 0.05 * rng.standard_normal(world.attempts)
                parts = np.clip(parts + 0.03 * np.arange(world.attempts), 0, 1)
                for attempt, part in enumerate(parts.tolist()):
                    value = repr(low + (high - low) * part)
                    own = common | {"attempt": attempt}
                    yield own | {"metric": "attempt_return", "value": value}
                    if world.success:
                        yield own | {"metric": "success", "value": repr(float(part > 0.6))}
                value = repr(float((low + (high - low) * parts).sum()))
                yield common | {"attempt": -1, "metric": "return", "value": value}


def _probe(entry: Entry, world: World) -> Iterator[dict[str, object]]:
    skill, tasks = SKILL.get(str(entry["variant"]), 0.3), len(world.of(entry))
    for split in sorted(set(world.splits.values()) or {"train"}):
        for timestep in (0, 1, 2, 4, 8, 16, 32, 64, 128):
            known = 1 - (1 - 1 / tasks) * np.exp(-timestep * skill / 8)
            common = {"split": split, "step": world.steps[-1], "timestep": timestep}
            for source, accuracy in (("memory", known), ("input", 1.2 / tasks)):
                counts = {"chance": 1 / tasks, "tasks": tasks, "rollouts": 10 * tasks}
                yield common | counts | {"source": source, "accuracy": repr(float(accuracy))}


def _metrics(entry: Entry, world: World, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    tasks = list(world.of(entry))
    for step in world.steps[1:]:
        part = step / world.steps[-1]
        yield {"step": step, "name": "updates", "key": "", "value": 2000 * part}
        yield {"step": step, "name": "loss_critic", "key": "", "value": repr(1 / (1 + step))}
        share = float(0.5 + 0.3 * part + 0.02 * rng.standard_normal())
        yield {"step": step, "name": "filter_share", "key": "", "value": repr(share)}
        shared = tasks if entry["benchmark"] == "return_scale" else []
        for kind in ("loss_actor", "loss_critic", "grad_norm_actor", "grad_norm_critic"):
            for task, part in zip(shared, rng.uniform(0.1, 1, len(shared)).tolist(), strict=True):
                yield {"step": step, "name": f"task_{kind}", "key": task, "value": repr(part)}
        for name, keys, centre in (
            ("bin_histogram", range(BINS), BINS / 2 + 4 * part),
            ("replay_share", tasks, len(tasks) * part),
        ):
            weights = np.exp(-0.5 * (np.arange(len(keys)) - centre) ** 2 / 4)
            for key, weight in zip(keys, (weights / weights.sum()).tolist(), strict=True):
                yield {"step": step, "name": name, "key": key, "value": repr(weight)}
