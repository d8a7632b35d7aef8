"""The speeds aimed at, beside what was measured: multiples of the published implementation's."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workflow.bench import published


class Goal(NamedTuple):
    """A speed aimed at: multiples of the published implementation's."""

    what: str
    least: float
    float32: float | None
    """Measured with the default precision; None if that was not measured."""
    bfloat16: float | None
    """Measured with `learner.precision: bfloat16`."""

    @property
    def reached(self) -> str:
        """Whether it was, and whether by the default."""
        if (self.float32 or 0.0) >= self.least:
            return "yes"
        return "in bfloat16" if (self.bfloat16 or 0.0) >= self.least else "**no**"


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
    found = _by_mode(rows, ("size", "variant"), "tokens_per_s", published.LEARNER)
    return [
        Goal(
            f"learner, {size}, `{variant}`: tokens/s",
            4 if variant == "ind_actor_ind_critic" and size != "pixels" else 2,
            ratios.get("float32"),
            ratios.get("bfloat16"),
        )
        for (size, variant), ratios in found.items()
    ]


def _actors(rows: list[dict[str, Any]]) -> list[Goal]:
    found = _by_mode(rows, ("net", "count"), "steps_per_s", published.ACTORS)
    return [
        Goal(f"actors, {net}, {count}: steps/s", 3, ratios.get("cached"), ratios.get("bfloat16"))
        for (net, count), ratios in found.items()
    ]


def _by_mode(
    rows: list[dict[str, Any]],
    keys: tuple[str, str],
    rate: str,
    known: Mapping[tuple[str, str], float],
) -> dict[tuple[str, str], dict[str, float]]:
    """Multiples of the published rates by a row's keys and mode, where one is known."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        key = row[keys[0]], row[keys[1]]
        if key in known:
            found.setdefault(key, {})[row["mode"]] = row[rate] / known[key]
    return found


def _replay(rows: list[dict[str, Any]]) -> list[Goal]:
    return [
        Goal(
            f"replay, {r['kind']}: sampled/s",
            4 if "frames" in r["kind"] else 10,
            r["sampled_per_s"] / published.REPLAY[r["kind"]][1],
            None,
        )
        for r in rows
        if r["mode"] == "shards"
    ]


def _learning(rows: list[dict[str, Any]]) -> list[Goal]:
    """A row whose median seed did not get there reached none of its goal."""
    seeds = {name: [r for r in rows if r["row"] == name] for name in published.LEARNING}
    return [
        Goal(
            f"learning, {name.replace('_', ' ')}: speed",
            2,
            None,
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
