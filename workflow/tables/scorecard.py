"""scorecard: every claim of the paper, what our runs say of it, and the verdict."""

import pandas as pd

from workflow.analysis import frames, verdicts
from workflow.render import verdict_texts
from workflow.render.draw import Params

_COLUMNS = [
    "claim", "title", "above", "below", "published", "published_at", "published_from",
    "seeds", "value", "low",
    "high", "verdict", "why", "control",
]  # fmt: skip


def build(tables: frames.Tables, params: Params) -> pd.DataFrame:
    """A row per claim, in the order of `params/claims.yaml`, with its verdict."""
    return verdicts.judge_all(tables["claims"], tables, params.budget)[_COLUMNS]


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """With intervals in square brackets; a control says whether it came out as it must."""
    return verdict_texts.readable(frame)
