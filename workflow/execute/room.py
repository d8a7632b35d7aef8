"""Room on this machine for the runs that are alive at once: memory of GPUs and host, and disk.

Snakemake starts as many as fit all of it. What not even one run fits is said before the start.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import psutil

from amago2.errors import ConfigError
from workflow.dag.plan import Dag
from workflow.dag.runs import Run
from workflow.estimate.disk import disk_of_runs
from workflow.estimate.needs import Needs, needs
from workflow.execute import gpus as devices


def check_memory(dag: Dag) -> None:
    """Raise `ConfigError` if a run needs more memory than this machine has."""
    wanted = {run.name: needs(run.config) for run in dag.pending}
    if not wanted:
        return
    name, largest = max(wanted.items(), key=lambda item: item[1].host_bytes)
    memory = psutil.virtual_memory().total
    if largest.host_bytes > memory:
        raise ConfigError(
            f"{name} needs about {_gb(largest.host_bytes)} of memory, and this machine has "
            f"{_gb(memory)}: choose a smaller budget, or a cluster's profile "
            "(make ... PROFILE=slurm)"
        )


def check_disk(dag: Dag) -> None:
    """Raise `ConfigError` if what the runs leave behind, and the largest's replay, do not fit."""
    left = disk_of_runs(dag.pending).total
    most = _most([needs(run.config) for run in dag.pending], "scratch_bytes")
    free = _free(dag)
    if left + most > free:
        raise ConfigError(
            f"{dag.results}: the {len(dag.pending)} runs to train leave about {_gb(left)} there "
            f"(checkpoints and replay), and the largest takes {_gb(most)} while it is trained; "
            f"{_gb(free)} are free: make room, select fewer runs, or set checkpoint.with_replay: "
            "false"
        )


def limits(dag: Dag) -> list[str]:
    """Snakemake's option for how much all runs that are alive may take together.

    Of each at least what the largest run needs: it shall be tried even where that is not there.
    """
    wanted = [needs(run.config) for run in dag.pending]
    if not wanted:
        return []
    there = {
        "gpu_mb": sum(gpu.memory for gpu in devices.gpus()) if any(n.gpus for n in wanted) else 0,
        "mem_mb": psutil.virtual_memory().total,
        "scratch_mb": _free(dag) - disk_of_runs(dag.pending).total,
    }
    largest = {
        "gpu_mb": _most(wanted, "gpu_bytes"),
        "mem_mb": _most(wanted, "host_bytes"),
        "scratch_mb": _most(wanted, "scratch_bytes"),
    }
    given = {name: int(max(there[name], largest[name])) // 10**6 + 1 for name in there}
    if not there["gpu_mb"]:
        del given["gpu_mb"]
    return ["--resources", *(f"{name}={size}" for name, size in given.items())]


def _most(wanted: Iterable[Needs], what: str) -> int:
    return max((int(getattr(each, what)) for each in wanted), default=0)


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def _free(dag: Dag) -> int:
    """Bytes of the disk that are free, or hold what the runs to train have written already."""
    return shutil.disk_usage(_nearest(dag.results)).free + sum(map(_written, dag.pending))


def _written(run: Run) -> int:
    return sum(path.stat().st_size for path in run.scratch.rglob("*") if path.is_file())


def _nearest(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
