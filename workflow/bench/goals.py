"""The speeds aimed at, beside what was measured: multiples of the published implementation's."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from workflow.bench import published

Goal = tuple[str, float, float]
"""What, the least multiple wanted, the multiple measured."""
PARTS = ("learner", "actors", "replay", "learning")


def evaluate(data: dict[str, Any]) -> list[Goal]:
    """Every goal whose part was measured."""
    rows = {part: data.get(part, {"rows": []})["rows"] for part in PARTS}
    return [
        *_learner(rows["learner"]),
        *_actors(rows["actors"]),
        *_replay(rows["replay"]),
        *_learning(rows["learning"]),
    ]


def _learner(rows: list[dict[str, Any]]) -> list[Goal]:
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["size"], row["variant"]
        best[key] = max(best.get(key, 0.0), row["tokens_per_s"] / published.LEARNER[key])
    return [
        (
            f"learner, {size}, `{variant}`: tokens/s",
            4 if variant == "ind_actor_ind_critic" and size != "pixels" else 2,
            ratio,
        )
        for (size, variant), ratio in best.items()
    ]


def _actors(rows: list[dict[str, Any]]) -> list[Goal]:
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["net"], row["count"]
        if row["mode"] != "plain" and (known := published.ACTORS.get(key)):
            best[key] = max(best.get(key, 0.0), row["steps_per_s"] / known)
    return [(f"actors, {net}, {count}: steps/s", 3, ratio) for (net, count), ratio in best.items()]


def _replay(rows: list[dict[str, Any]]) -> list[Goal]:
    return [
        (
            f"replay, {r['kind']}: sampled/s",
            4 if "frames" in r["kind"] else 10,
            r["sampled_per_s"] / published.REPLAY[r["kind"]][1],
        )
        for r in rows
        if r["mode"] == "shards"
    ]


def _learning(rows: list[dict[str, Any]]) -> list[Goal]:
    """A row whose median seed did not get there reached none of its goal."""
    seeds = {name: [r for r in rows if r["row"] == name] for name in published.LEARNING}
    return [
        (
            f"learning, {name.replace('_', ' ')}: speed",
            2,
            published.LEARNING[name][0] / middle if (middle := median_cpu_s(same)) else 0.0,
        )
        for name, same in seeds.items()
        if same
    ]


def median_cpu_s(seeds: Sequence[dict[str, Any]]) -> float | None:
    """Median CPU seconds until a row's scores were reached; None if the middle seed never did."""
    middle = statistics.median_high(
        math.inf if r["cpu_s"] is None else float(r["cpu_s"]) for r in seeds
    )
    return middle if math.isfinite(middle) else None
