"""The policy of the best evaluation, kept in a folder beside the last checkpoint."""

import csv
import math
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from amago2.training import checkpoint as ckpt

BEST = "best"
"""The folder's name, in a run's folder. It is a checkpoint without what only training needs."""


def keep(scratch: Path, checkpoint: ckpt.Checkpoint) -> None:
    """Write a checkpoint in the place of the one that was the best so far."""
    temporary = scratch / "checkpoint.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    ckpt.write(temporary, checkpoint)
    ckpt.move_into_place(temporary, scratch / BEST)


def highest_return(evaluations: Path, split: str) -> float:
    """Highest mean return of an evaluation by a run's table of evaluations; -inf if it is empty.

    So a run that is resumed knows what it had found until its checkpoint. What it found after that
    it finds again.
    """
    returns: dict[str, list[float]] = defaultdict(list)
    with evaluations.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["split"], row["metric"]) == (split, "return"):
                returns[row["step"]].append(float(row["value"]))
    return max((float(np.mean(values)) for values in returns.values()), default=-math.inf)
