"""What a budget runs, what is done already, and roughly how long the rest takes.

python -m workflow.plan --budget paper
"""

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from amago2.layers import ConfigError
from workflow import cost, disk
from workflow.dag import Dag, Run, plan
from workflow.experiments import RUNTIMES, Selection


class Sum(NamedTuple):
    """Some runs, added up."""

    runs: int
    done: int
    env_steps: int
    updates: int
    cpu_s: float
    """Time of the runs left on this machine's cores, one run after the other."""
    gpu_s: float
    """The same for runs that need a GPU, on one."""
    disk: disk.Disk
    """What DVC versions of all these runs."""


def add_up(runs: Iterable[Run], correction: dict[str, float]) -> Sum:
    """The sum of runs; what is left to do counts towards time."""
    runs = list(runs)
    seconds = {"cpu": 0.0, "cuda": 0.0}
    for run in runs:
        if not run.finished:
            device = run.config.device
            parallel = max(1, cores() // run.config.threads) if device == "cpu" else 1
            seconds[device] += cost.guess_s(run.config) * correction.get(device, 1) / parallel
    return Sum(
        runs=len(runs),
        done=sum(run.finished for run in runs),
        env_steps=sum(cost.env_steps(run.config) for run in runs),
        updates=sum(cost.updates(run.config) for run in runs),
        cpu_s=seconds["cpu"],
        gpu_s=seconds["cuda"],
        disk=disk.add_up(runs),
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def duration(seconds: float) -> str:
    """In the largest sensible unit, with no more digits than a guess deserves."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def short(number: float) -> str:
    """12,345,678 as 12.3M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def rows(dag: Dag) -> list[tuple[str, Sum]]:
    """Per experiment, and all of them; a run that several share counts once in the last."""
    correction = cost.correction(dag.runs.values())
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
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"budget {dag.selection.budget}", no_wrap=True)
    for name in ("runs", "done", "left", "steps", "updates", "disk", "time left, about"):
        table.add_column(name, justify="right", no_wrap=True)
    summed = rows(dag)
    for name, total in summed:
        counts = (total.runs, total.done, total.runs - total.done)
        sizes = (short(total.env_steps), short(total.updates), f"{short(total.disk.total)}B")
        table.add_row(name, *map(str, counts), *sizes, _time(total))
    console.print(table)
    stale = sum(not target.done for target in dag.targets)
    console.print(f"Tables, figures, versions, report: {stale} of {len(dag.targets)} to make.")
    console.print(_basis(dag, summed[-1][1]))
    console.print(_disk(summed[-1][1].disk))


def _time(total: Sum) -> str:
    parts = [duration(total.cpu_s)] if total.cpu_s else []
    parts += [f"{duration(total.gpu_s)} on a GPU"] if total.gpu_s else []
    return " + ".join(parts) or "-"


def _basis(dag: Dag, total: Sum) -> str:
    measured = cost.correction(dag.runs.values())
    sources = []
    if total.cpu_s:
        known = "corrected by finished runs" if "cpu" in measured else "not measured here yet"
        sources.append(f"{cores()} cores ({known})")
    if total.gpu_s:
        known = "corrected by finished runs" if "cuda" in measured else "an RTX A5000's speed"
        sources.append(f"one GPU ({known}); more GPUs share it")
    if not sources:
        return "All runs are finished."
    return (
        f"Times are rough estimates for {' and '.join(sources)}: operations per update over a "
        "measured rate, evaluation left out (workflow/cost.py)."
    )


def _disk(total: disk.Disk) -> str:
    return (
        f"Disk is what DVC versions, about {short(total.checkpoint)}B of checkpoints and "
        f"{short(total.replay)}B of replay (checkpoint.with_replay: false leaves it out); the "
        "cache and a local remote hold as much again each."
    )


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
    given = arguments_parser("python -m workflow.plan", __doc__).parse_args(arguments)
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
