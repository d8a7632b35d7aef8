"""What costs are measured against, the law that each should follow, and how that is checked."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """What varies, what is measured, and the law that its cost should follow."""

    label: str
    cost: str
    law: str
    points: tuple[int, ...]


AXES = {
    "context": Axis(
        "context length", "s per update", "slope 1, towards 2 where attention's square shows",
        (64, 128, 256, 512, 1024),
    ),
    "batch": Axis("sub-sequences per batch", "s per update", "slope 1", (2, 4, 8, 16, 32)),
    "tasks": Axis("tasks", "s per epoch", "slope 0", (1, 4, 16, 64)),
    "environments": Axis(
        "environments", "s per step of all", "from 0 (overheads) to 1 (each costs)",
        (4, 8, 16, 32, 64, 128),
    ),
    "replay": Axis(
        "trajectories in replay", "s per sampled batch", "slope 0", (100, 1000, 10_000, 100_000)
    ),
}  # fmt: skip


def slope(points: Mapping[str, float]) -> float:
    """Exponent of cost in size: the slope of a straight line through their logarithms."""
    x, y = np.log([float(p) for p in points]), np.log(list(points.values()))
    return float(np.polyfit(x, y, 1)[0])
