"""Numbers for `params/hardware.yaml`, fitted to what was measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from amago2 import run_record
from amago2.config.documents import read_yaml
from amago2.config.schema import load
from amago2.errors import ConfigError
from workflow.estimate.calibration import calibrate
from workflow.estimate.training_time import env_steps, flops_per_update, updates


def fit_processor(results: Path) -> dict[str, Any]:
    """The speed that explains best the CPU seconds of a budget's finished runs on one thread.

    Baselines do not count, since their networks are others.
    """
    import numpy as np

    work, seconds = [], []
    for path in sorted(results.glob("runs/*/*/*/record.json")):
        if "trainer" in read_yaml(path.parent / "config.yaml"):
            continue
        config = load(path.parent / "config.yaml")
        flops = updates(config) * flops_per_update(config)
        work.append((config.env.name, flops, env_steps(config)))
        seconds.append(run_record.read(path.parent)["cpu_s"])
    entries = sorted({entry for entry, _, _ in work})
    terms = np.zeros((len(work), 1 + len(entries)))
    for row, (entry, flops, steps) in zip(terms, work, strict=True):
        row[0] = flops / 1e10
        row[1 + entries.index(entry)] = steps / 1e3
    per_flops, *per_steps = _fitted(terms, seconds)
    return {
        "kernel_s": round(calibrate().cpu_s, 4),
        "flops": _rounded(1e10 / per_flops),
        "step_s": {e: round(s / 1e3, 6) for e, s in zip(entries, per_steps, strict=True)},
    }


def fit_gpu(measurements: Path) -> dict[str, Any]:
    """Operations per second of the paper's updates on a GPU, by precision: medians over the sizes.

    Raises `ConfigError` if they were not measured.
    """
    try:
        rows = json.loads(measurements.read_text()).get("gpu", {"rows": []})["rows"]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{measurements}: cannot be read: {error}") from None
    rates: dict[str, list[float]] = {}
    for row in rows:
        # Plans assume no compiler.
        if row["measure"] == "gpu" and row["how"] == "eager" and "seconds" in row:
            rates.setdefault(row["mode"], []).append(1e12 * row["tflop"] / row["seconds"])
    if not rates:
        raise ConfigError(
            f"{measurements}: holds no measurements of a GPU; run `make bench ONLY=gpu` on one"
        )
    return {"flops": {mode: _rounded(median(each)) for mode, each in rates.items()}}


def _fitted(terms: Any, seconds: Sequence[float]) -> list[float]:
    """Seconds per unit of each term (N, K), none negative; relative errors of `seconds` count."""
    import numpy as np
    from scipy.optimize import nnls

    weights = 1 / np.array(seconds)
    found, _ = nnls(np.array(terms) * weights[:, None], np.ones(len(weights)))
    return [float(x) for x in found]


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")
