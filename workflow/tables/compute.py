"""compute: what the runs took, per benchmark, variant and cell."""

import pandas as pd

from workflow.analysis import frames
from workflow.analysis.frames import Tables
from workflow.render import style
from workflow.render.draw import Params

GIB = 2.0**30
_MEANS = {
    "planned_min": ("planned_s", 1 / 60),
    "wall_min": ("wall_s", 1 / 60),
    "cpu_min": ("cpu_s", 1 / 60),
    "env_steps": ("env_steps", 1),
    "updates": ("updates", 1),
    "steps_per_s": ("steps_per_s", 1),
    "updates_per_s": ("updates_per_s", 1),
    "memory_gib": ("peak_rss_bytes", 1 / GIB),
    "gpu_memory_gib": ("gpu_peak_bytes", 1 / GIB),
    "gpu_use_pct": ("gpu_mean_util", 100),
    "gpu_wh": ("gpu_joules", 1 / 3600),
}
_NAMES = {
    "benchmark": "benchmark", "variant": "variant", "cell": "cell", "runs": "runs",
    "planned_min": "planned", "wall_min": "wall time", "cpu_min": "CPU time", "env_steps": "steps",
    "updates": "updates", "steps_per_s": "steps/s", "updates_per_s": "updates/s",
    "memory_gib": "memory (GiB)", "gpu": "GPU", "gpu_memory_gib": "GPU memory (GiB)",
    "gpu_use_pct": "GPU use (%)", "gpu_wh": "GPU energy (Wh)",
}  # fmt: skip


def build(tables: Tables, _params: Params) -> pd.DataFrame:
    """Means over the runs of each group, and the sums of all runs in the last row.

    A run that several experiments share is counted once.
    """
    runs = frames.all_rows(tables, "compute").drop_duplicates(
        ["benchmark", "variant", "seed", "run"]
    )
    runs = runs[runs.state == "finished"]
    if runs.empty:
        return pd.DataFrame(columns=list(_NAMES))
    numbers = {name: pd.to_numeric(runs[key]) * unit for name, (key, unit) in _MEANS.items()}
    runs = runs[["benchmark", "variant", "cell"]].assign(**numbers, gpu=runs.gpu_name, runs=1)
    groups = runs.groupby(["benchmark", "variant", "cell"], as_index=False)
    rules = dict.fromkeys(_MEANS, "mean") | {"runs": "sum", "gpu": "first"}
    return pd.concat([groups.agg(rules), _total(runs)], ignore_index=True)[list(_NAMES)]


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """With names and units, times as 12 s or 1:59; columns in which no run has anything are out."""
    names = [
        style.agent_style(variant).label if variant else "" for variant in frame.variant.fillna("")
    ]
    shown = frame.assign(variant=names).dropna(axis="columns", how="all")
    times = {
        name: shown[name].map(_clock)
        for name in ("planned_min", "wall_min", "cpu_min")
        if name in shown
    }
    return shown.assign(**times).rename(columns=_NAMES)


def _clock(minutes: float) -> str:
    """12 s, 1:59 or 1:01:59."""
    if pd.isna(minutes):
        return "–"
    seconds = round(60 * minutes)
    if seconds < 60:
        return f"{seconds} s"
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _total(runs: pd.DataFrame) -> pd.DataFrame:
    summed = ["runs", "planned_min", "wall_min", "cpu_min", "env_steps", "updates", "gpu_wh"]
    total = runs[summed].sum(min_count=1).to_dict()
    return pd.DataFrame([{"benchmark": "all runs", "variant": "", "cell": "", **total}])
