"""What a budget runs, what is finished, and roughly how long the rest takes: the numbers."""

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workflow.dag.plan import Dag
from workflow.dag.runs import Run
from workflow.estimate.calibration import Kernel, calibrate, corrections
from workflow.estimate.disk import Disk, disk_of_runs
from workflow.estimate.hardware import cores, hardware
from workflow.estimate.needs import Needs, needs
from workflow.estimate.plan_accuracy import Forecast
from workflow.estimate.resources import gpus, threads
from workflow.estimate.training_time import env_steps, estimated_seconds, updates

SECONDS_PER_TARGET = 4.0
"""What a figure or table takes, start of Python included."""


class Totals(NamedTuple):
    """Sums over some runs; times count those that are left."""

    runs: int
    finished: int
    env_steps: int
    updates: int
    cpu_s: float
    """Until this machine's cores have trained all runs that need no GPU."""
    gpu_s: dict[str, list[float]]
    """By kind of GPU: of each run that needs one, once for each that it needs."""
    disk: Disk
    needs: list[Needs]
    """Of each run that is left."""


def totals(runs: Iterable[Run], corrections: Mapping[str, float]) -> Totals:
    """Add runs up; `corrections` are factors for estimated seconds by device."""
    runs = list(runs)
    left = [run.config for run in runs if not run.finished]
    on_cpu = [c for c in left if c.device == "cpu"]
    cpu_s = [estimated_seconds(c) * corrections.get("cpu", 1) for c in on_cpu]
    threads_per_run = max((threads(c) for c in on_cpu), default=1)
    on_gpu = [c for c in left for _ in range(gpus(c))]
    return Totals(
        runs=len(runs),
        finished=sum(run.finished for run in runs),
        env_steps=sum(env_steps(run.config) for run in runs),
        updates=sum(updates(run.config) for run in runs),
        cpu_s=wall_time(cpu_s, max(1, cores() // threads_per_run)),
        gpu_s={
            name: [estimated_seconds(c, gpu) * corrections.get("cuda", 1) for c in on_gpu]
            for name, gpu in hardware().gpus.items()
        },
        disk=disk_of_runs(runs),
        needs=[needs(config) for config in left],
    )


def wall_time(seconds: Iterable[float], workers: int) -> float:
    """Seconds until workers have done all jobs, the longest begun first."""
    ends = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def totals_by_experiment(dag: Dag, kernel: Kernel | None = None) -> dict[str, Totals]:
    """Of the selected runs. A run may count in several experiments; see `totals_of_all`."""
    factors = corrections(dag.runs.values(), kernel)
    found = {}
    for matrix in dag.matrices:
        names = {member.config.run_name for member in matrix.members}
        runs = [run for name, run in dag.runs.items() if name in names and run.selected]
        if runs:
            found[matrix.name] = totals(runs, factors)
    return found


def totals_of_all(dag: Dag, kernel: Kernel | None = None) -> Totals:
    """Of all selected runs, each counted once."""
    selected = [run for run in dag.runs.values() if run.selected]
    return totals(selected, corrections(dag.runs.values(), kernel))


def drawing_seconds(dag: Dag, kernel: Kernel | None) -> float:
    """Until this machine's cores have made all tables, figures and lists that are not current."""
    slower = kernel.wall_s / hardware().processor.kernel_s if kernel else 1
    return len(dag.stale) * SECONDS_PER_TARGET * slower / cores()


def forecast(dag: Dag) -> Forecast | None:
    """What everything left takes here, calibrated now; None if no comparison would be fair.

    That is so if nothing is to be trained, or not on the host's cores, or an interrupted run is to
    be resumed.
    """
    elsewhere = dag.image or any(run.config.device != "cpu" for run in dag.pending)
    interrupted = any((run.scratch / "progress.json").is_file() for run in dag.pending)
    if elsewhere or interrupted or not dag.pending:
        return None
    kernel = calibrate()
    seconds = totals_of_all(dag, kernel).cpu_s + drawing_seconds(dag, kernel)
    return Forecast(len(dag.pending), len(dag.stale), seconds)
