"""The plan as `make plan` prints it: what a budget runs, time left, disk, GPU-hours and cost."""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from workflow.config.experiments import Selection
from workflow.dag.plan import Dag, plan
from workflow.estimate import plan_accuracy
from workflow.estimate.calibration import calibrate
from workflow.estimate.disk import Disk
from workflow.estimate.formatting import duration, short_number
from workflow.estimate.hardware import cores, hardware
from workflow.estimate.plan import (
    Totals,
    drawing_seconds,
    totals_by_experiment,
    totals_of_all,
    wall_time,
)

GPU_COUNTS = (1, 8, 64)
"""One GPU, a machine of eight, a cluster."""


def show(dag: Dag, console: Console) -> None:
    """Print the plan, after a calibration of this machine if runs are left for its cores."""
    on_cpu = any(run.config.device == "cpu" for run in dag.pending)
    kernel = calibrate() if on_cpu else None
    by_experiment, all_runs = totals_by_experiment(dag, kernel), totals_of_all(dag, kernel)
    drawing_s = drawing_seconds(dag, kernel)
    table = _table(f"budget {dag.selection.budget}", ("runs", "done", "left", "steps", "updates"))
    for name in ("disk", "time left, about"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, part in {**by_experiment, "all different runs": all_runs}.items():
        table.add_row(name, *_cells(part))
    targets = f"{len(dag.stale)} tables, figures, lists"
    table.add_row(targets, *[""] * 6, duration(drawing_s))
    console.print(table)
    console.print(_disk(all_runs.disk))
    if on_cpu:
        total = duration(all_runs.cpu_s + drawing_s)
        basis = "finished runs and a calibration" if all_runs.finished else "a calibration"
        console.print(f"On these {cores()} cores about {total} in all, by {basis} of this moment.")
    if any(all_runs.gpu_s.values()):
        _show_gpus(by_experiment, all_runs, console)
    if last := plan_accuracy.last_comparison(dag.results):
        console.print(last)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(part: Totals) -> list[str]:
    counts = (part.runs, part.finished, part.runs - part.finished)
    sizes = (short_number(part.env_steps), short_number(part.updates))
    return [*map(str, counts), *sizes, f"{short_number(part.disk.total)}B", _time_left(part)]


def _time_left(part: Totals) -> str:
    first_gpu = next(iter(part.gpu_s.values()))
    times = [duration(part.cpu_s)] if part.cpu_s else []
    times += [f"{sum(first_gpu) / 3600:,.0f} GPU-hours"] if first_gpu else []
    return " + ".join(times) or "-"


def _disk(disk: Disk) -> str:
    return (
        f"Disk is what DVC versions, about {short_number(disk.checkpoint)}B of checkpoints and "
        f"{short_number(disk.replay)}B of replay (checkpoint.with_replay: false leaves it out); "
        "the cache and a local remote hold as much again each."
    )


def _show_gpus(by_experiment: Mapping[str, Totals], all_runs: Totals, console: Console) -> None:
    """GPU-hours by kind of GPU; then time, energy, cost and disk of all; and what they rest on."""
    gpus = hardware().gpus
    table = _table("GPU-hours left", tuple(gpus))
    for experiment, part in by_experiment.items():
        if any(part.gpu_s.values()):
            table.add_row(experiment, *(f"{_hours(part, name):,.0f}" for name in gpus))
    table.add_row("all different runs", *(f"{_hours(all_runs, name):,.0f}" for name in gpus))
    table.add_section()
    for count in GPU_COUNTS:
        times = (duration(wall_time(all_runs.gpu_s[name], count)) for name in gpus)
        table.add_row(f"wall time on {count} GPU{'s' * (count > 1)}", *times)
    hours = {name: _hours(all_runs, name) for name in gpus}
    energy = (f"{hours[name] * gpu.watts / 1000:,.0f}" for name, gpu in gpus.items())
    cost = (f"{hours[name] * gpu.usd_per_hour:,.0f}" for name, gpu in gpus.items())
    table.add_row("energy, kWh", *energy)
    table.add_row("cost, USD", *cost)
    console.print(table)
    for sentence in (*_needs(all_runs), *_basis()):
        console.print(sentence)


def _needs(all_runs: Totals) -> list[str]:
    """What else a machine must have: disk, memory and cores."""
    largest = sorted((each.scratch_bytes for each in all_runs.needs), reverse=True)
    disk = {count: all_runs.disk.total + sum(largest[:count]) for count in GPU_COUNTS}
    amounts = ", ".join(
        f"{short_number(size)}B on {count}" if count > 1 else f"{short_number(size)}B on one GPU"
        for count, size in disk.items()
    )
    memory = max(each.gpu_bytes / each.gpus for each in all_runs.needs if each.gpus)
    host = max(each.host_bytes for each in all_runs.needs)
    cores = max(each.cores for each in all_runs.needs)
    return [
        f"Disk, with the replay of as many of the largest runs as are trained at once: {amounts} "
        "(beside DVC's cache).",
        f"A run needs at most {memory / 1e9:.0f} GB of a GPU, {host / 1e9:.0f} GB of memory and "
        f"{cores} cores; small runs share a GPU as far as they fit, which the times leave out.",
    ]


def _basis() -> list[str]:
    prices = [
        f"{name}: {gpu.watts:.0f} W, {gpu.usd_per_hour:g} USD an hour (assumed); {gpu.source}."
        for name, gpu in hardware().gpus.items()
    ]
    return [
        *prices,
        "One run per GPU, in TF32 unless another precision is set; energy is the board's at full "
        "power, without its host. Prices, powers and rates are in params/hardware.yaml. All are "
        "rough estimates, corrected by the runs that have finished.",
    ]


def _hours(part: Totals, gpu: str) -> float:
    return sum(part.gpu_s[gpu]) / 3600


def report(selection: Selection) -> None:
    """Print the plan of a selection. Raises `ConfigError`."""
    dag = plan(selection)
    show(dag, Console(width=max(100, Console().width), highlight=False, markup=False))
    for sentence in dag.left_out:
        print(sentence)
