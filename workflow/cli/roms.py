"""Commands on the ROMs of the Gym Retro benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from amago2.errors import ConfigError

app = typer.Typer(
    help="The Super Mario ROMs of the Gym Retro benchmark, which each user must bring.",
    no_args_is_help=True,
)


@app.command()
def status() -> None:
    """Say which ROMs are there; exit code 1 if one is missing."""
    raise typer.Exit(_report())


@app.command("import")
def import_(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Searched whole for ROMs, .zip archives included."),
    ],
) -> None:
    """Install the ROMs that a folder holds, known by their SHA-1; then as `status`."""
    from envs.contract import SimulatorMissing
    from envs.retro_roms import MARIO_GAMES, import_folder

    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: name the one that holds your ROMs")
    try:
        for line in import_folder(folder, MARIO_GAMES):
            print(line)
    except SimulatorMissing as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        hint = "ROMs must be readable, and stable-retro's folder writable"
        raise ConfigError(f"{error}: {hint}") from None
    raise typer.Exit(_report())


def _report() -> int:
    from envs.contract import SimulatorMissing
    from envs.retro_roms import MARIO_GAMES, REMEDY, Rom

    try:
        roms = [Rom.of(game) for game in MARIO_GAMES]
    except SimulatorMissing as error:
        raise ConfigError(str(error)) from None
    for rom in roms:
        print(f"{rom.game} {rom.problem or 'is there'}")
    if not any(rom.problem for rom in roms):
        return 0
    print(REMEDY)
    return 1
