"""Commands that make generated files anew: pages of `docs`, and the schemas of parameter files."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make generated pages of docs/, and params/schemas, anew.", no_args_is_help=True
)


@app.command()
def licences(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Markdown page to write.")] = Path(
        "docs/licences.md"
    ),
) -> None:
    """List the licences of all locked packages, as the installed ones state them."""
    from workflow.docs.licences import write

    write(out)


@app.command()
def schemas() -> None:
    """Write params/schemas, by which editors check parameter files."""
    from workflow.docs.schemas import write

    write()


@app.command()
def results() -> None:
    """Write what is published into README.md and docs/experiments.md."""
    from workflow.docs.results import write

    write()


@app.command()
def architecture() -> None:
    """Draw the packages and their imports into docs/architecture.md."""
    from workflow.docs.architecture import write

    write()


@app.command()
def site(
    links: Annotated[
        bool, typer.Option("--links", help="Ask for every address elsewhere, too.")
    ] = False,
) -> None:
    """Build the documentation site in build/site/html; `make docs` first installs Sphinx."""
    from workflow.docs.site import build

    print(f"site: {build(links)}")


@app.command()
def card(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
) -> None:
    """Write the model card of trained policies: README.md in each run's folder."""
    from workflow.report.model_card import write

    for run in runs:
        print(write(run))
