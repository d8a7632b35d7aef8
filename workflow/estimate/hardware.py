"""How fast, hungry and dear machines are: `params/hardware.yaml`, and a measurement of this one.

python -m workflow.estimate.hardware fit results/smoke        the processor's, from finished runs
python -m workflow.estimate.hardware fit-gpu docs/performance.json  from `make bench ONLY=gpu`
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from pydantic import Field

from amago2.config.layers import Layer as Source
from amago2.config.layers import Section, read_yaml, validate
from amago2.config.schema import load as load_config
from amago2.errors import ConfigError

PATH = Path("params") / "hardware.yaml"
WITHOUT = ("float32", "eager")
"""What is planned with: neither a lower precision nor a compiler."""
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


class Processor(Section):
    """What a run takes of one thread, in seconds of the machine on which it was measured."""

    kernel_s: float = Field(gt=0)
    """What the calibration kernel took there."""
    start_s: float = Field(ge=0)
    """Loading PyTorch and the simulators, which a run's own times do not count."""
    flops: float = Field(gt=0)
    step_s: dict[str, float]
    """By environment."""
    other_step_s: float = Field(gt=0)


class Accelerator(Section):
    """A GPU."""

    device: str = Field(min_length=1)
    """Part of the name that the driver gives it."""
    peak: dict[Literal["float32", "tfloat32", "bfloat16"], float]
    """Its highest rate, in operations a second, by precision of products."""
    flops: float = Field(gt=0)
    updates_per_s: float = Field(gt=0)
    steps_per_s: float = Field(gt=0)
    watts: float = Field(gt=0)
    usd_per_hour: float = Field(ge=0)
    source: str = Field(min_length=1)


class Hardware(Section):
    """The content of `params/hardware.yaml`."""

    processor: Processor
    gpus: dict[str, Accelerator] = Field(min_length=1)


def load(path: Path = PATH) -> Hardware:
    """Read it. Raises `ConfigError`."""
    data = read_yaml(path)
    return validate(Hardware, data, [Source(str(path), data)])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def calibrate() -> Kernel:
    """Time the kernel on all cores at once as training will be; takes 1 to 3 s."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KERNEL]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
        for _ in range(cores())
    ]
    times = [process.communicate()[0].split() for process in running]
    wall, cpu = ([float(pair[i]) for pair in times] for i in (0, 1))
    return Kernel(sum(wall) / len(wall), sum(cpu) / len(cpu))


def fit(results: Path) -> dict[str, object]:
    """The processor's numbers that explain best the CPU seconds of finished runs on one thread.

    Runs of the baselines do not count: their networks are others.
    """
    from scipy.optimize import nnls

    from workflow.estimate import compute as cost

    rows: list[list[float]] = []
    took: list[float] = []
    entries: list[str] = []
    for path in sorted(results.glob("runs/*/*/*/record.json")):
        if "trainer" in read_yaml(path.parent / "config.yaml"):
            continue
        config = load_config(path.parent / "config.yaml")
        operations = cost.updates(config) * cost.flops_per_update(config)
        entries.append(config.env.entry_point)
        rows.append([operations / 1e10, cost.env_steps(config) / 1e3])
        took.append(json.loads(path.read_text())["cpu_s"])
    names = sorted(set(entries))
    table = np.zeros((len(rows), 1 + len(names)))
    for i, (operations, steps) in enumerate(rows):
        table[i, 0] = operations
        table[i, 1 + names.index(entries[i])] = steps
    weights = 1 / np.array(took)  # a run counts by its relative error
    found, _ = nnls(table * weights[:, None], np.ones(len(rows)))
    steps_s = (round(float(s) / 1e3, 6) for s in found[1:])
    return {
        "kernel_s": round(calibrate().cpu_s, 4),
        "flops": float(f"{1e10 / found[0]:.3g}"),
        "step_s": dict(zip(names, steps_s, strict=True)),
    }


def fit_gpu(measured: Path) -> dict[str, float]:
    """A GPU's numbers that explain best what the paper's updates took on it in float32.

    Raises `ConfigError` if that was not measured.
    """
    from scipy.optimize import nnls

    try:
        data = json.loads(measured.read_text()).get("gpu", {"rows": []})["rows"]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{measured}: cannot be read: {error}") from None
    same = [r for r in data if r["measure"] == "gpu" and (r["mode"], r["how"]) == WITHOUT]
    rows = [r for r in same if "seconds" in r]
    acting = [r["steps_per_s"] for r in data if r["measure"] == "gpu_actors"]
    if not rows or not acting:
        raise ConfigError(f"{measured}: nothing of a GPU in it; run `make bench ONLY=gpu` on one")
    seconds = np.array([r["seconds"] for r in rows])
    terms = np.array([[r["tflop"], 1.0] for r in rows])
    (per_tflop, each), _ = nnls(terms / seconds[:, None], np.ones(len(rows)))  # relative errors
    return {
        "flops": float(f"{1e12 / max(per_tflop, 1e-9):.3g}"),
        "updates_per_s": float(f"{1 / max(each, 1e-9):.3g}"),
        "steps_per_s": float(f"{max(acting):.3g}"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.estimate.hardware", description=__doc__
    )
    parser.add_argument("job", choices=["fit", "fit-gpu"])
    parser.add_argument("measured", type=Path, help="a budget's results, or docs/performance.json")
    given = parser.parse_args(arguments)
    try:
        found: dict[str, Any] = (fit if given.job == "fit" else fit_gpu)(given.measured)
    except ConfigError as error:
        print(f"hardware: {error}", file=sys.stderr)
        return 1
    print(yaml.safe_dump(found, sort_keys=False), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
