"""The rows of a scorecard in words: for the table and the report."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from workflow.analysis import verdicts
from workflow.render import style


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """With intervals in square brackets; a control says whether it came out as it must."""
    return pd.DataFrame(
        {
            "claim": frame.title,
            "must be": [must_be(row) for row in frame.to_dict("records")],
            "paper": [_published(row) for row in frame.to_dict("records")],
            "ours": [_estimate(row) for row in frame.to_dict("records")],
            "seeds": frame.seeds,
            "verdict": [verdict_text(row) for row in frame.to_dict("records")],
        }
    )


def verdict_text(row: Mapping[Any, Any]) -> str:
    """The verdict; of a control with what it means."""
    if not row["control"] or row["verdict"] == verdicts.NO_VERDICT:
        return f"{row['verdict']} ({row['why']})"
    meaning = {
        verdicts.NOT_REPRODUCED: ", as it must be",
        verdicts.NOT_DECIDABLE: ": the control needs more seeds",
        verdicts.REPRODUCED: ": THE CONTROL FAILED",
    }
    return row["verdict"] + meaning[row["verdict"]]


def must_be(row: Mapping[Any, Any]) -> str:
    """Where the claim holds."""
    if pd.isna(row["below"]):
        return f"> {row['above']:.4g}"
    above, below = row["above"], row["below"]
    return f"< {below:.4g}" if pd.isna(above) else f"{above:.4g}–{below:.4g}"


def _published(row: Mapping[Any, Any]) -> str:
    """The paper's number, and at how many of our steps if that is not its last one."""
    if pd.isna(row["published"]):
        return "–"
    if pd.isna(row["published_at"]):
        return f"{row['published']:g}"
    return f"{row['published']:.1f} at {style.short_number(row['published_at'])} steps"


def _estimate(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["value"]):
        return "–"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['value']:.1f}{interval}"
