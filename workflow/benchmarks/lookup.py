"""All benchmarks that are described: a module of this package each, with a tuple `BENCHMARKS`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import workflow.benchmarks
from workflow.benchmarks.description import Benchmark, Column, Scale


@cache
def benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name, in the order in which figures show them."""
    found: list[Benchmark] = []
    for module in pkgutil.iter_modules(workflow.benchmarks.__path__):
        contents = importlib.import_module(f"{workflow.benchmarks.__name__}.{module.name}")
        found += getattr(contents, "BENCHMARKS", ())
    found.sort(key=lambda benchmark: (benchmark.position, benchmark.name))
    return {benchmark.name: benchmark for benchmark in found}


def benchmark(name: str) -> Benchmark:
    """The description of one benchmark.

    Raises:
        LookupError: There is none of this name.
    """
    if name not in benchmarks():
        known = ", ".join(benchmarks())
        message = f"benchmark {name} has no description in workflow/benchmarks, which has {known}"
        raise LookupError(message)
    return benchmarks()[name]


def comparable_benchmarks() -> dict[str, Benchmark]:
    """The benchmarks whose scores can be compared, in percent."""
    return {name: own for name, own in benchmarks().items() if own.scale is not None}


def main_experiments() -> list[str]:
    """Experiments with the main results of these benchmarks: the paper's first, then ours."""
    ordered = sorted(comparable_benchmarks().values(), key=lambda own: not own.published)
    return list(dict.fromkeys(own.main_experiment for own in ordered))


def scale_files() -> dict[str, str]:
    """Files of `workflow/reference` that scores are normalised by, by the names of their tables."""
    columns = [column for own in comparable_benchmarks().values() for column in _columns(own.scale)]
    return {column.table: column.file for column in columns}


def _columns(scale: Scale | None) -> list[Column]:
    return [value for value in vars(scale).values() if isinstance(value, Column)]
