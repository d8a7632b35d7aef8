"""How fast this machine is at the moment, and what finished runs say of the estimates.

The calibration kernel shows how fast this processor is, and how much of it other programs take;
finished runs show how far the estimates are off.
"""

import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

from amago2.files import read_json
from workflow.dag.runs import Run
from workflow.estimate.hardware import cores, hardware
from workflow.estimate.training_time import estimated_seconds

KERNEL = """
import time
import numpy as np

generator = np.random.default_rng(0)
x = generator.standard_normal((264, 64), np.float32)
w = generator.standard_normal((64, 256), np.float32)
big = generator.standard_normal((512, 512), np.float32)


def unit():
    for _ in range(40):
        np.maximum(x @ w, 0) @ w.T
    for _ in range(3):
        big @ big
    total = {}
    for i in range(60_000):
        total[i % 97] = total.get(i % 97, 0) + i


unit()
wall, cpu, times = time.monotonic(), time.process_time(), 0
while time.monotonic() - wall < 1:
    unit()
    times += 1
print((time.monotonic() - wall) / times, (time.process_time() - cpu) / times)
"""
"""Products of the sizes that small networks have, and Python itself; one thread."""


class Kernel(NamedTuple):
    """Mean seconds of the calibration kernel."""

    wall_s: float
    cpu_s: float


def calibrate() -> Kernel:
    """Time the kernel on all cores at once, as training will use them; takes 1 to 3 s."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KERNEL]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
        for _ in range(cores())
    ]
    times = [process.communicate()[0].split() for process in processes]
    wall, cpu = ([float(pair[i]) for pair in times] for i in (0, 1))
    return Kernel(statistics.fmean(wall), statistics.fmean(cpu))


def corrections(runs: Iterable[Run], kernel: Kernel | None = None) -> dict[str, float]:
    """Factors for estimated seconds by device, from finished runs and a calibration, if any."""
    ratios: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for run in runs:
        clock = "cpu_s" if run.config.device == "cpu" else "wall_s"
        seconds = read_json(run.record).get(clock) if run.finished else None
        if isinstance(seconds, int | float) and 0 < seconds < math.inf:
            total = seconds + hardware().processor.start_s
            ratios[run.config.device].append(total / estimated_seconds(run.config))
    factors = {device: statistics.median(each) for device, each in ratios.items() if each}
    if kernel and "cpu" in factors:  # CPU seconds are known, so other programs' share is missing
        factors["cpu"] *= kernel.wall_s / kernel.cpu_s
    elif kernel:
        factors["cpu"] = kernel.wall_s / hardware().processor.kernel_s
    return factors
