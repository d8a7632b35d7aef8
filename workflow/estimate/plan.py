"""What a budget runs, what is done already, and roughly how long the rest takes.

python -m workflow.estimate.plan --budget paper
"""

import argparse
import heapq
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from amago2.errors import ConfigError
from workflow.config.experiments import RUNTIMES, Selection
from workflow.dag.plan import Dag, plan
from workflow.dag.runs import Run
from workflow.estimate import compute as cost
from workflow.estimate import disk, durations
from workflow.estimate.hardware import Kernel, calibrate, cores

TARGET_S = 4.0
"""What a figure or table takes, start of Python included."""
GPU_COUNTS = (1, 4, 16, 64)


class Sum(NamedTuple):
    """Some runs, added up."""

    runs: int
    done: int
    env_steps: int
    updates: int
    cpu_s: float
    """Time of the runs left on this machine's cores."""
    gpu_s: dict[str, list[float]]
    """Of each run left that needs a GPU, once for each that it needs, by the kind of GPU."""
    disk: disk.Disk
    """What DVC versions of all these runs."""


def add_up(runs: Iterable[Run], correction: Mapping[str, float]) -> Sum:
    """The sum of runs; what is left to do counts towards time."""
    runs = list(runs)
    left = [run.config for run in runs if not run.finished]
    cpu = [c for c in left if c.device == "cpu"]
    threads = max((cost.threads(c) for c in cpu), default=1)
    cpu_s = [cost.guess_s(c) * correction.get("cpu", 1) for c in cpu]
    gpu = [c for c in left for _ in range(cost.gpus(c))]
    return Sum(
        runs=len(runs),
        done=sum(run.finished for run in runs),
        env_steps=sum(cost.env_steps(run.config) for run in runs),
        updates=sum(cost.updates(run.config) for run in runs),
        cpu_s=makespan(cpu_s, max(1, cores() // threads)),
        gpu_s={
            name: [cost.guess_s(c, kind) * correction.get("cuda", 1) for c in gpu]
            for name, kind in cost.hardware().gpus.items()
        },
        disk=disk.add_up(runs),
    )


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last of some jobs ends, the longest begun first."""
    ends = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def duration(seconds: float) -> str:
    """In the largest sensible unit, with no more digits than a guess deserves."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def short(number: float) -> str:
    """12,345,678 as 12.3M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def rows(dag: Dag, kernel: Kernel | None = None) -> list[tuple[str, Sum]]:
    """Per experiment, and all of them; a run that several share counts once in the last."""
    correction = cost.correction(dag.runs.values(), kernel)
    found = []
    for matrix in dag.matrices:
        names = {member.config.run_name for member in matrix.members}
        runs = [run for name, run in dag.runs.items() if name in names and run.selected]
        if runs:
            found.append((matrix.name, add_up(runs, correction)))
    selected = [run for run in dag.runs.values() if run.selected]
    return [*found, ("all different runs", add_up(selected, correction))]


def show(dag: Dag, console: Console) -> None:
    """Print it."""
    on_cpu = any(run.config.device == "cpu" for run in dag.pending)
    kernel = calibrate() if on_cpu else None
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"budget {dag.selection.budget}", no_wrap=True)
    for name in ("runs", "done", "left", "steps", "updates", "disk", "time left, about"):
        table.add_column(name, justify="right", no_wrap=True)
    summed = rows(dag, kernel)
    for name, total in summed:
        counts = (total.runs, total.done, total.runs - total.done)
        sizes = (short(total.env_steps), short(total.updates), f"{short(total.disk.total)}B")
        table.add_row(name, *map(str, counts), *sizes, _time(total))
    stale = len(dag.stale)
    drawing = drawing_s(stale, kernel)
    table.add_row(f"{stale} tables, figures, lists", *[""] * 6, duration(drawing))
    console.print(table)
    console.print(_disk(summed[-1][1].disk))
    total = summed[-1][1]
    if on_cpu:
        whole = duration(total.cpu_s + drawing)
        basis = "finished runs and a calibration" if total.done else "a calibration"
        console.print(f"On these {cores()} cores about {whole} in all, by {basis} of this moment.")
    if any(total.gpu_s.values()):
        show_gpus(summed, console)
    if before := durations.last(dag.results):
        console.print(before)


def drawing_s(targets: int, kernel: Kernel | None) -> float:
    """What so many tables, figures and lists take on this machine's cores."""
    there = cost.hardware().processor.kernel_s
    return targets * TARGET_S * (kernel.wall_s / there if kernel else 1) / cores()


def forecast(dag: Dag) -> durations.Forecast | None:
    """What all that is left takes here, calibrated now; None if a comparison would not be fair:
    nothing is to be trained, or not on the host's cores, or an interrupted run goes on."""
    elsewhere = dag.image or any(run.config.device != "cpu" for run in dag.pending)
    begun = any((run.scratch / "progress.json").is_file() for run in dag.pending)
    if elsewhere or begun or not dag.pending:
        return None
    kernel = calibrate()
    _, total = rows(dag, kernel)[-1]
    stale = len(dag.stale)
    return durations.Forecast(len(dag.pending), stale, total.cpu_s + drawing_s(stale, kernel))


def show_gpus(summed: list[tuple[str, Sum]], console: Console) -> None:
    """GPU-hours left by kind of GPU; time, energy and cost of all; and what that rests on."""
    kinds = cost.hardware().gpus
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("GPU-hours left", no_wrap=True)
    for name in kinds:
        table.add_column(name, justify="right", no_wrap=True)
    for experiment, part in summed:
        if any(part.gpu_s.values()):
            table.add_row(experiment, *(f"{sum(part.gpu_s[kind]) / 3600:,.0f}" for kind in kinds))
    total = summed[-1][1].gpu_s
    table.add_section()
    for count in GPU_COUNTS:
        times = (duration(makespan(total[kind], count)) for kind in kinds)
        table.add_row(f"wall time on {count} GPU{'s' * (count > 1)}", *times)
    hours = {kind: sum(total[kind]) / 3600 for kind in kinds}
    energy = (f"{hours[name] * kind.watts / 1000:,.0f}" for name, kind in kinds.items())
    money = (f"{hours[name] * kind.usd_per_hour:,.0f}" for name, kind in kinds.items())
    table.add_row("energy, kWh", *energy)
    table.add_row("cost, USD", *money)
    console.print(table)
    for name, kind in kinds.items():
        price = f"{kind.watts:.0f} W, {kind.usd_per_hour:g} USD an hour (assumed)"
        console.print(f"{name}: {price}; {kind.source}.")
    console.print(
        "One run a GPU; energy at the board's full power, without its host. Prices, powers and "
        "rates are in params/hardware.yaml. Rough estimates all: corrected by runs that finished."
    )


def _disk(total: disk.Disk) -> str:
    return (
        f"Disk is what DVC versions, about {short(total.checkpoint)}B of checkpoints and "
        f"{short(total.replay)}B of replay (checkpoint.with_replay: false leaves it out); the "
        "cache and a local remote hold as much again each."
    )


def _time(total: Sum) -> str:
    first = next(iter(total.gpu_s.values()))
    parts = [duration(total.cpu_s)] if total.cpu_s else []
    parts += [f"{sum(first) / 3600:,.0f} GPU-hours"] if first else []
    return " + ".join(parts) or "-"


def arguments_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """The options that select what to make."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--budget", default="smoke")
    parser.add_argument("--experiment", default="", help="names, with commas between")
    parser.add_argument("--benchmark", default="", help="names, with commas between")
    parser.add_argument("--seeds", default="", help="seeds 0 to this, exclusive")
    parser.add_argument("--runtime", default="", help=f"one of {', '.join(RUNTIMES)}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = arguments_parser("python -m workflow.estimate.plan", __doc__).parse_args(arguments)
    try:
        dag = plan(Selection.parse(vars(given)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    show(dag, Console(width=max(100, Console().width), highlight=False))
    for sentence in dag.left_out:
        print(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
