"""What the Procgen figures share: scores in the rewards' own scale, normalised by game."""

import pandas as pd

from workflow.analysis import frames, statistics

CELLS = {"default": "default rewards", "rescaled": "rescaled rewards"}


def ranges(tables: frames.Tables, mode: str) -> pd.DataFrame:
    """Per game, the lowest and the highest score of an attempt, (low, high)."""
    table = tables["reference.ranges"]
    return table[table["mode"] == mode].set_index("game")[["low", "high"]]


def normalise(scores: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Rows with `value`, the raw return of an attempt, from 0 to 1 between the ends of its game."""
    own = ends.loc[scores.task]
    return scores.assign(value=statistics.normalise(scores.value, own.low, own.high) / 100)
