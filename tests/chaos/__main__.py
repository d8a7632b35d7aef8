"""`python -m tests.chaos`: disturb everything, and tell what was not survived."""

import sys
from typing import Annotated

import typer

from tests.chaos import runner

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def chaos(
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")] = 0,
    only: Annotated[
        str, typer.Option(metavar="KIND[:NUMBER]", help="One kind of trial, or a single trial.")
    ] = "",
    short: Annotated[bool, typer.Option("--short", help="A few trials of each kind.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at once.")] = 2,
    write: Annotated[
        bool, typer.Option("--write", help="Write the table into docs/reliability.md.")
    ] = False,
) -> None:
    """Kill, cut, fill, damage and attack; every trial must end well."""
    sys.exit(runner.main(seed, only, short, jobs, write))


if __name__ == "__main__":
    app()
