"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workflow.config.experiments import Selection

PARAMS, RESULTS = Path("params"), Path("results")


def names(pattern: str) -> Callable[[str], list[str]]:
    """A completion: names of the parameter files or folders that match a pattern."""

    def complete(incomplete: str) -> list[str]:
        found = {path.stem for path in Path().glob(pattern)}
        return sorted(name for name in found if name.startswith(incomplete))

    return complete


def _runtimes(incomplete: str) -> list[str]:
    from workflow.config.experiments import RUNTIMES

    return [name for name in RUNTIMES if name.startswith(incomplete)]


Budget = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Budget, a file of params/budgets.",
        autocompletion=names("params/budgets/*.yaml"),
    ),
]
Experiment = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Only these experiments, files of params/experiments, separated by commas.",
        autocompletion=names("params/experiments/*.yaml"),
    ),
]
Benchmark = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Only these benchmarks, files of params/benchmarks, separated by commas.",
        autocompletion=names("params/benchmarks/*.yaml"),
    ),
]
Seeds = Annotated[
    str,
    typer.Option(metavar="N", help="Number of seeds (0 to N - 1), instead of each experiment's."),
]
Runtime = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where runs are trained: host, docker, podman or apptainer.",
        autocompletion=_runtimes,
    ),
]


def selection(
    budget: str, experiment: str, benchmark: str, seeds: str, runtime: str
) -> "Selection":
    """What these options select. Raises `ConfigError`."""
    from workflow.config.experiments import Selection

    return Selection.parse(
        {
            "budget": budget,
            "experiment": experiment,
            "benchmark": benchmark,
            "seeds": seeds,
            "runtime": runtime,
        }
    )
