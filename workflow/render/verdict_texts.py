"""The rows of a scorecard in words: for the table and the report."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from workflow.analysis import verdicts


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """With intervals in square brackets; a control says whether it came out as it must."""
    return pd.DataFrame(
        {
            "claim": frame.title,
            "must be": [must_be(row) for row in frame.to_dict("records")],
            "paper": [_number(value) for value in frame.published],
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
        return f"> {row['above']:g}"
    return f"< {row['below']:g}" if pd.isna(row["above"]) else f"{row['above']:g}–{row['below']:g}"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:g}"


def _estimate(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["value"]):
        return "–"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['value']:.1f}{interval}"
