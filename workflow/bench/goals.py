"""The speeds aimed at, beside what was measured: multiples of the published implementation's."""

from typing import Any

from workflow.bench import published

Goal = tuple[str, float, float]
"""What, the least multiple wanted, the multiple measured."""
PARTS = ("learner", "actors", "replay", "learning")


def reached(data: dict[str, Any]) -> list[Goal]:
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
    """A run that did not get there reached none of its goal."""
    return [
        (
            f"learning, {r['row'].replace('_', ' ')}: speed",
            2,
            published.LEARNING[r["row"]][0] / r["cpu_s"] if r["cpu_s"] else 0.0,
        )
        for r in rows
    ]
