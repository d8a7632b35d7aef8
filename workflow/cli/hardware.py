"""Commands that fit what `params/hardware.yaml` says of machines to measurements."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Fit the planner's table of machines, params/hardware.yaml, to measurements.",
    no_args_is_help=True,
)


@app.command()
def processor(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Results of a budget, such as results/smoke.")
    ],
) -> None:
    """Print this processor's entry, fitted to the finished runs of a budget."""
    import yaml

    from workflow.estimate.fitting import fit_processor

    print(yaml.safe_dump(fit_processor(results), sort_keys=False), end="")


@app.command()
def gpu(
    measured: Annotated[
        Path, typer.Argument(metavar="FILE", help="Written by `make bench ONLY=gpu`.")
    ] = Path("docs/performance.json"),
) -> None:
    """Print a GPU's entry, fitted to what the benchmarks measured on it."""
    import yaml

    from workflow.estimate.fitting import fit_gpu

    print(yaml.safe_dump(fit_gpu(measured), sort_keys=False), end="")
