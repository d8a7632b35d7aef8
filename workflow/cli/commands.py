"""Commands on results, on the machine and on parameters; what they do is elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from workflow.cli.options import (
    PARAMS,
    RESULTS,
    Benchmark,
    Budget,
    Experiment,
    Runtime,
    Seeds,
    names,
    selection,
)
from workflow.config.budgets import DEFAULT

MAKE, LOOK, PROJECT = "Make results", "Inspect and share results", "Project"


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    panels: dict[str, list[Callable[..., None]]] = {
        MAKE: [reproduce, plan, status, figures, tables],
        LOOK: [verify, repeat, pull, publish, crate],
        PROJECT: [doctor, resolve],
    }
    for panel, commands in panels.items():
        for command in commands:
            app.command(rich_help_panel=panel)(command)


def reproduce(
    budget: Budget = DEFAULT,
    experiment: Experiment = "",
    benchmark: Benchmark = "",
    seeds: Seeds = "",
    runtime: Runtime = "",
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Snakemake profile that starts the jobs, a folder of profiles/, such as slurm.",
            autocompletion=names("profiles/*"),
        ),
    ] = "",
) -> None:
    """Train, evaluate and draw everything of a budget, showing progress.

    It may be stopped or killed at any moment: the same command goes on from there. If a job fails,
    all that does not need it is made before the command ends with exit code 1.
    """
    chosen = selection(budget, experiment, benchmark, seeds, runtime)
    from workflow.execute.reproduce import run

    raise typer.Exit(run(chosen, profile))


def plan(
    budget: Budget = DEFAULT,
    experiment: Experiment = "",
    benchmark: Benchmark = "",
    seeds: Seeds = "",
    runtime: Runtime = "",
) -> None:
    """List what a budget runs, what is done already, and how long the rest takes."""
    chosen = selection(budget, experiment, benchmark, seeds, runtime)
    from workflow.estimate.plan_report import report

    report(chosen)


def status(
    budget: Budget = DEFAULT,
    experiment: Experiment = "",
    benchmark: Benchmark = "",
    seeds: Seeds = "",
    runtime: Runtime = "",
) -> None:
    """Show how far each run is, how fast it goes, and how long it still takes."""
    chosen = selection(budget, experiment, benchmark, seeds, runtime)
    from workflow.execute.status import report

    report(chosen)


def figures(
    budget: Budget = DEFAULT,
    experiment: Experiment = "",
    benchmark: Benchmark = "",
    seeds: Seeds = "",
    runtime: Runtime = "",
) -> None:
    """Make the figures alone, and the runs and tables that they need."""
    chosen = selection(budget, experiment, benchmark, seeds, runtime)
    from workflow.execute.part import make

    raise typer.Exit(make(chosen, "figures"))


def tables(
    budget: Budget = DEFAULT,
    experiment: Experiment = "",
    benchmark: Benchmark = "",
    seeds: Seeds = "",
    runtime: Runtime = "",
) -> None:
    """Make the tables alone, and the runs that they need."""
    chosen = selection(budget, experiment, benchmark, seeds, runtime)
    from workflow.execute.part import make

    raise typer.Exit(make(chosen, "tables"))


def verify(budget: Budget = DEFAULT) -> None:
    """Check every digest of a budget's manifest; make figures, tables and report anew and compare.

    They are made from the tidy tables in an empty folder and must be the same byte for byte. No
    run is needed, and nothing is changed.
    """
    from amago2.printing import say
    from workflow.execute.verify import verify as differences

    found = differences(budget, RESULTS, PARAMS)
    for sentence in found:
        say(f"DIFFERS: {sentence}")
    print(f"{len(found)} differ" if found else "verified: all of it is byte for byte the same")
    raise typer.Exit(int(bool(found)))


def repeat(
    budget: Budget = DEFAULT,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the finished runs, at least one run.")
    ] = 0.1,
) -> None:
    """Train a sample of a budget's finished runs again, and compare the bits with their records.

    The same bits can be expected on the same kind of processor with the same packages. Nothing is
    changed.
    """
    from amago2.printing import say
    from workflow.execute.repeat import repeat as differences

    found = differences(RESULTS / budget, share)
    for sentence in found:
        say(f"DIFFERS: {sentence}")
    print(f"{len(found)} differ" if found else "repeated: all of it has the same bits")
    raise typer.Exit(int(bool(found)))


def pull(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders below `results/<budget>/runs`.")
    ],
    replay: Annotated[bool, typer.Option("--replay", help="Fetch the replay too.")] = False,
) -> None:
    """Fetch the checkpoints of runs from the DVC remote, and check them.

    Every file is compared with the SHA-256 in the run's record. What differs is removed and fetched
    once more.
    """
    from amago2.printing import say
    from workflow.dag.runs import ARTIFACTS
    from workflow.dvc.pull import pull as fetch

    fetch(runs, ARTIFACTS if replay else ARTIFACTS[:1])
    for run in runs:
        say(f"{run}: here, every SHA-256 as recorded")


def publish(
    budget: Budget,
    experiment: Experiment,
    policies: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Those of them of which the best run of each agent has its checkpoint published.",
        ),
    ] = "",
) -> None:
    """Put the results of experiments, and of no others of the budget, into the repository.

    Checkpoints go to a DVC remote that lies in the repository, `results/published`, if they are not
    too large for it. Then all lists of the budget are made anew, and the pages that show them.
    """
    chosen = selection(budget, experiment, "", "", "")
    from workflow.dag.crate import write as write_crate
    from workflow.docs.results import write as pages
    from workflow.execute.publish import publish as put
    from workflow.execute.reproduce import run

    for folder in put(chosen, [name for name in policies.split(",") if name]):
        print(f"{folder}: its checkpoint is in the repository")
    if status := run(chosen):
        raise typer.Exit(status)
    write_crate(RESULTS / budget)
    pages()


def crate(budget: Budget = DEFAULT) -> None:
    """Describe a budget's results as an RO-Crate (Workflow Run profile)."""
    from workflow.dag.crate import write

    path, entities = write(RESULTS / budget)
    print(f"{path}: {entities} entities")


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

    It is ready for `amago2 train`, or for
    `python -m workflow.baselines.<trainer>` if it names a trainer.
    """
    from amago2.config.layers import parse_override
    from workflow.config.parameters import Parameters

    over = [parse_override(text) for text in overrides or []]
    config = Parameters(PARAMS).resolve(benchmark, variant, budget, seed, over)
    print(config.to_yaml(), end="")
