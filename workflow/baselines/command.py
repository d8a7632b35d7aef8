"""The command line that all baselines have: `python -m workflow.baselines.<trainer> SETTINGS`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amago2.config.schema import RunConfigT, load_as
from amago2.errors import ConfigError, RunError
from amago2.printing import warn
from amago2.training.run import run_trainer
from amago2.training.trainer import Trainer


def main(kind: type[RunConfigT], make_trainer: Callable[[RunConfigT, Path], Trainer]) -> None:
    """Train the run that the command's arguments name, or continue it, and exit.

    Exit codes: 0 if the run is finished, 2 for a user's mistake, 130 if interrupted, else 1.
    """

    def train(
        settings: Annotated[Path, typer.Argument(help="Complete configuration, a YAML file.")],
        out: Annotated[Path, typer.Option(help="Folder of the finished run.")],
        scratch: Annotated[
            Path | None,
            typer.Option(help="Folder of the unfinished run."),
        ] = None,
        provenance: Annotated[
            Path | None, typer.Option(help="JSON file to add to the run's record.")
        ] = None,
    ) -> None:
        try:
            config = load_as(kind, settings)
            notes = json.loads(provenance.read_text()) if provenance else {}
            run_trainer(make_trainer, config, out, scratch, notes)
        except KeyboardInterrupt:
            warn("\nstopped; the same command continues the run")
            raise typer.Exit(130) from None
        except (ConfigError, RunError, OSError) as error:
            warn(str(error))
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None

    train.__doc__ = f"Train a run of {kind.__doc__ or kind.__name__}"
    app = typer.Typer(add_completion=False)
    app.command()(train)
    app()
