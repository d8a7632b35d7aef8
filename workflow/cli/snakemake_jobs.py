"""The jobs of the pipeline, as the rules in `workflow/rules` start them."""

from pathlib import Path
from typing import Annotated

import typer

from workflow.cli.options import PARAMS, RESULTS, Budget

app = typer.Typer(
    help="One job of the pipeline each, for the Snakemake rules. Not needed by hand.",
    no_args_is_help=True,
)
Settings = Annotated[
    Path, typer.Argument(metavar="SETTINGS", help="Complete configuration of a run, a YAML file.")
]
Out = Annotated[Path, typer.Option(metavar="RUN", help="Folder of the finished run.")]
Scratch = Annotated[
    Path,
    typer.Option(metavar="FOLDER", help="Folder of the unfinished run."),
]
FingerprintFile = Annotated[
    Path,
    typer.Argument(metavar="FINGERPRINT", help="What the job makes, and from what: a JSON file."),
]
Folder = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="Results of a budget, such as results/smoke.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of its parameter file.")]


@app.command()
def train(
    settings: Settings,
    out: Out,
    scratch: Scratch,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record of the image whose container trains the run."),
    ] = None,
    cores: Annotated[int, typer.Option(min=1, help="CPU cores that the run may use.")] = 1,
) -> None:
    """Train a run or continue it: record its origin, take its GPUs, become its trainer."""
    from workflow.execute.launch import start

    start(settings, out, scratch, image, cores)


@app.command()
def image(
    runtime: Annotated[str, typer.Argument(metavar="RUNTIME", help="docker, podman or apptainer.")],
) -> None:
    """Build the image that runs are trained in, unless it exists, and record what it is."""
    from workflow.container.image import build_wanted

    built = build_wanted(runtime)
    print(f"{built['tag']}: image {built['image']}, content {built['content_sha256']}")


@app.command()
def tidy(
    listing: Annotated[Path, typer.Argument(metavar="FILE", help="Runs of an experiment: JSON.")],
    results: Folder,
    scores: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Files of final scores, for `dvc metrics`."),
    ] = None,
) -> None:
    """Write an experiment's list of runs, tidy tables and final scores, from its runs."""
    from workflow.analysis.tidy import write

    write(listing, results, scores or [])


@app.command()
def computed(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the table.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV file to write.")],
) -> None:
    """Write a tidy table that needs no run."""
    import importlib

    from amago2.errors import ConfigError
    from amago2.files import write_atomically
    from workflow.dag.targets import COMPUTED

    if name not in COMPUTED:
        raise ConfigError(
            f"{name} is not a table that needs no run; allowed are {', '.join(COMPUTED)}"
        )
    module = importlib.import_module(f"workflow.{COMPUTED[name]}")
    write_atomically(out, module.to_table(PARAMS))


@app.command()
def figure(name: Name, budget: Budget) -> None:
    """Make one figure from tidy tables and its parameter file."""
    from workflow.render.draw import render

    render("figure", name, budget, RESULTS, PARAMS)


@app.command()
def table(name: Name, budget: Budget) -> None:
    """Make one table from tidy tables and its parameter file."""
    from workflow.render.draw import render

    render("table", name, budget, RESULTS, PARAMS)


@app.command("check-figures")
def check_figures() -> None:
    """Check the parameter files of all figures and tables; makes nothing."""
    from workflow.render.draw import check

    check(PARAMS)


@app.command()
def report(budget: Budget) -> None:
    """Make the report, a page that needs no network and no script."""
    from workflow.report.page import write

    write(budget, RESULTS, PARAMS)


@app.command()
def version(results: Folder, fingerprint: FingerprintFile) -> None:
    """Version checkpoints and replays of finished runs with DVC; push them if there is a remote."""
    from workflow.dvc.add import version_listed

    print(f"{version_listed(results, fingerprint)} runs are versioned")


@app.command("results-file")
def results_file(fingerprint: FingerprintFile) -> None:
    """Write `results/<budget>/dvc.yaml`, which lists metrics, plots and artifacts for DVC."""
    from workflow.dvc.results_file import write

    write(fingerprint)


@app.command()
def manifest(results: Folder) -> None:
    """Write the digests of everything that a budget made, and of what it was made from."""
    from workflow.dag.manifest import write

    write(results)


@app.command()
def record(fingerprint: FingerprintFile) -> None:
    """Record the provenance of what a job has just made: its last step."""
    from workflow.dag.fingerprints import Fingerprint
    from workflow.dag.provenance import write_record

    write_record(Fingerprint.load(fingerprint))


@app.command()
def measure(
    arguments: Annotated[
        list[str], typer.Argument(metavar="NAME ARGUMENT...", help="A measurement of `bench`.")
    ],
) -> None:
    """Make one measurement in this process and print it as JSON, for `bench`."""
    import json

    from workflow.bench.performance import measure_here

    print(json.dumps(measure_here(arguments)))
