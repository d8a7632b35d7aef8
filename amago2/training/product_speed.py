"""How fast this processor multiplies matrices in each precision, timed once per machine."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from amago2.config.schema import AmagoConfig, RunConfig
from amago2.files import read_json, write_atomically
from amago2.printing import warn
from amago2.training.hardware import cpu_name

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WIDTH, REPEATS = 512, 3
"""Of the square matrices, near the widths of the paper's networks. All takes some 20 ms."""
MARGIN = 1.2
"""Times as fast from which on a precision is worth a word: the timing wanders by a tenth."""


def product_speed() -> dict[str, float]:
    """Operations per second of one thread by precision, from the user's cache if it is there."""
    key = f"{cpu_name()}, torch {torch.__version__}"
    known: dict[str, Any] = {}
    with suppress(OSError):
        known = read_json(_cache())
    if _is_whole(known.get(key)):
        found: dict[str, float] = known[key]
        return found
    measured = _measure()
    with suppress(OSError):  # no home, or none to write to: then each run measures
        write_atomically(_cache(), json.dumps({**known, key: measured}, indent=1), durable=False)
    return measured


def _is_whole(found: Any) -> bool:
    named = isinstance(found, dict) and found.keys() == PRECISIONS.keys()
    return named and all(isinstance(speed, float) and speed > 0 for speed in found.values())


def faster_than(chosen: str) -> tuple[str, float] | None:
    """The precision that is faster here than the chosen one, and how many times; None if none."""
    speed = product_speed()
    best = max(speed, key=lambda name: speed[name])
    times = speed[best] / speed[chosen]
    return (best, times) if times > MARGIN else None


def warn_of_slow_precision(config: RunConfig) -> None:
    """Say if a run on a CPU was given the slower precision; of the default, the doctor tells."""
    chosen = config.learner.precision if isinstance(config, AmagoConfig) else None
    if chosen and config.device == "cpu" and (faster := faster_than(chosen)):
        best, times = faster
        warn(
            f"amago2: warning: learner.precision is {chosen}, but this processor multiplies "
            f"matrices {times:.1f} times as fast in {best}"
        )


def _measure() -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrices = {name: torch.ones(WIDTH, WIDTH, dtype=x) for name, x in PRECISIONS.items()}
        seconds = {name: min(_seconds(x) for _ in range(REPEATS)) for name, x in matrices.items()}
    finally:
        torch.set_num_threads(threads)
    return {name: 2 * WIDTH**3 / took for name, took in seconds.items()}


def _seconds(x: torch.Tensor) -> float:
    began = time.perf_counter()
    torch.mm(x, x)
    return time.perf_counter() - began


def _cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(folder, "amago2", "product_speed.json")
    try:
        return path.expanduser()
    except RuntimeError:
        raise FileNotFoundError("no home") from None
