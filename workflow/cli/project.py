"""Commands on the project and its machine: diagnosis and parameters."""

from typing import Annotated

import typer

from workflow.cli.options import PARAMS, Budget, names
from workflow.config.budgets import DEFAULT

PANEL = "Project"


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for command in (doctor, resolve):
        app.command(rich_help_panel=PANEL)(command)


def doctor() -> None:
    """Report what this machine has and lacks, each lack with its remedy.

    Exit code 1 if `make reproduce` cannot run here yet. Before `make setup`, `make doctor` says the
    same.
    """
    from workflow.setup.doctor import main

    raise typer.Exit(main())


def resolve(
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Benchmark, a file of params/benchmarks.",
            autocompletion=names("params/benchmarks/*.yaml"),
        ),
    ],
    variant: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Variant, a file of params/variants.",
            autocompletion=names("params/variants/*.yaml"),
        ),
    ],
    budget: Budget = DEFAULT,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Override a key: --set learner.batch=32."
        ),
    ] = None,
) -> None:
    """Print the complete configuration of one run as YAML.

    It is ready for `amago2 train`, or for `python -m workflow job baseline` if it names a trainer.
    """
    from amago2.config.layers import parse_override
    from workflow.config.parameters import Parameters

    over = [parse_override(text) for text in overrides or []]
    config = Parameters(PARAMS).resolve(benchmark, variant, budget, seed, over)
    print(config.to_yaml(), end="")
