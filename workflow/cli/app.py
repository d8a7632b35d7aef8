"""All commands in one application, and how errors become exit codes."""

from collections.abc import Sequence

import typer
from typer.completion import get_completion_inspect_parameters

from amago2.errors import ConfigError, sentence
from amago2.printing import warn
from workflow.cli import (
    commands,
    completion,
    docs,
    hardware,
    measurements,
    roms,
    snakemake_jobs,
)

HELP = """Reproduce AMAGO-2: train and evaluate its runs, make its figures, tables and report.

Run it in the project's folder. Most `make` targets call one of these commands.

Exit codes: 0 success; 1 something failed, or a check found a difference; 2 wrong input, such as an
unknown option or a mistake in a parameter file; 130 and 143 stopped, by Ctrl-C and by SIGTERM.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,  # typer's needs a command of one word: see workflow/cli/completion.py
    pretty_exceptions_enable=False,
)
commands.register(app)
measurements.register(app)
completion.register(app)
app.add_typer(hardware.app, name="hardware", rich_help_panel="Project")
app.add_typer(roms.app, name="roms", rich_help_panel="Project")
app.add_typer(docs.app, name="docs", rich_help_panel="Project")
app.add_typer(snakemake_jobs.app, name="job", rich_help_panel="For the pipeline")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. An error is one sentence on standard error."""
    get_completion_inspect_parameters()  # has typer know the shells
    try:
        app(arguments, complete_var=completion.VARIABLE)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        warn(said)
        return 2 if isinstance(error, ConfigError) else 1
    return 0
