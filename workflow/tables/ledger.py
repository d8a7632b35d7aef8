"""ledger: all runs of a budget, also those that were interrupted, failed or never begun."""

import pandas as pd

from workflow.analysis import frames
from workflow.render.draw import Params

_RUN = ["benchmark", "variant", "seed", "run"]
_NAMES = {
    "benchmark": "benchmark", "runs": "runs", "finished": "finished", "unfinished": "unfinished",
    "not_begun": "not begun", "resumed": "times resumed", "cpu_h": "CPU hours",
    "wall_h": "hours", "unfinished_h": "hours of unfinished runs",
}  # fmt: skip


def build(tables: frames.Tables, _params: Params) -> pd.DataFrame:
    """A row per benchmark, and their sum; a run that several experiments share is counted once."""
    listed = frames.all_rows(tables, "runs").drop_duplicates(_RUN)
    taken = frames.all_rows(tables, "compute").drop_duplicates(_RUN)
    if listed.empty:
        return pd.DataFrame(columns=list(_NAMES))
    numbers = ["wall_s", "cpu_s", "resumptions"]
    taken = taken.assign(**{name: pd.to_numeric(taken[name]).fillna(0) for name in numbers})
    rows = [_row(name, subset, taken[taken.benchmark == name])
            for name, subset in frames.groups(listed, "benchmark").items()]  # fmt: skip
    every = _row("all", listed, taken)
    return pd.DataFrame([*rows, every], columns=list(_NAMES))


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """With names for people."""
    return frame.rename(columns=_NAMES)


def _row(name: str, listed: pd.DataFrame, taken: pd.DataFrame) -> dict[str, object]:
    finished, unfinished = (taken[taken.state == s] for s in ("finished", "unfinished"))
    return {
        "benchmark": name,
        "runs": len(listed),
        "finished": len(finished),
        "unfinished": len(unfinished),
        "not_begun": len(listed) - len(finished) - len(unfinished),
        "resumed": int(finished.resumptions.sum()),
        "cpu_h": float(finished.cpu_s.sum() / 3600),
        "wall_h": float(finished.wall_s.sum() / 3600),
        "unfinished_h": float(unfinished.wall_s.sum() / 3600),
    }
