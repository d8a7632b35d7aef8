"""Commands that measure: speed and memory, how fast benchmarks step, returns of a random policy."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Measurements"


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    app.command(rich_help_panel=PANEL)(bench)
    app.command("benchmark-table", rich_help_panel=PANEL)(benchmark_table)
    app.command("random-returns", rich_help_panel=PANEL)(random_returns)


def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PART...", help="Parts of the page to measure anew, else all."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each measurement.")] = 5,
    docs: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where performance.json and .md are.")
    ] = Path("docs"),
) -> None:
    """Measure speed and memory into docs/performance.md; other parts stay as they are."""
    from workflow.bench import performance

    performance.run(parts or [], repeats, docs)


def benchmark_table(
    out: Annotated[
        Path | None,
        typer.Option(metavar="PAGE", help="Page with the two marks to write between, else print."),
    ] = None,
    benchmark: Annotated[
        str, typer.Option(metavar="NAMES", help="Only these, separated by commas.")
    ] = "",
) -> None:
    """Measure how fast every benchmark steps.

    Exit code 1 if one cannot run, unless it is for want of its ROMs.
    """
    from workflow.bench import benchmark_speed

    failed = benchmark_speed.write(out, [name for name in benchmark.split(",") if name])
    for sentence in failed:
        typer.echo(sentence, err=True)
    raise typer.Exit(int(bool(failed)))


def random_returns(
    benchmark: Annotated[str, typer.Argument(metavar="NAME", help="Benchmark, such as popgym.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV file to write.")],
    rollouts: Annotated[int, typer.Option(min=2, help="Rollouts of each task.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of tasks and actions.")] = 0,
) -> None:
    """Measure a uniformly random policy's return on every task of a benchmark."""
    from workflow.bench import random_returns

    random_returns.write(out, benchmark, rollouts, seed)
