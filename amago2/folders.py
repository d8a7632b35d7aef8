"""Folders that this project may delete or fill: those that it made, which hold a marker file.

A folder's name, or the names in it, never decide: anybody may have files of those names.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from amago2.errors import ConfigError
from amago2.files import make_folder, sync
from amago2.printing import say

SCRATCH, RUN = ".amago2-scratch", ".amago2-unfinished"
"""Names of the markers: of an unfinished run's scratch folder, of a folder being published."""
MADE = "made by amago2, which deletes this folder when it needs it no more\n"
FOUND = "filled by amago2, which empties this folder when it needs it no more\n"
"""What is in the marker of a folder that was there before, and was empty."""


def is_ours(folder: Path, marker: str) -> bool:
    """Whether the folder holds this marker."""
    return (folder / marker).is_file()


def check_free(folder: Path, marker: str) -> None:
    """Raise `ConfigError` unless the folder is so marked, is empty or does not exist."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        what = "is a link to nothing" if folder.is_symlink() else "is a file"
        raise ConfigError(f"{folder}: {what}; name a folder that is empty or does not exist")
    others = sorted(path.name for path in folder.iterdir())
    if others and marker not in others:
        raise ConfigError(
            f"{folder}: holds files that are not part of a run, such as {others[0]}; name a folder "
            "that is empty or does not exist"
        )


def claim(folder: Path, marker: str) -> None:
    """Make the folder, or take an empty one, and mark it. Raises `ConfigError` as `check_free`."""
    check_free(folder, marker)
    text = FOUND if folder.exists() else MADE
    make_folder(folder)
    if not is_ours(folder, marker):
        (folder / marker).write_text(text)
        sync(folder / marker)
        sync(folder)


def clear(folder: Path, names: Collection[str]) -> None:
    """Delete what has these names in a folder of ours, and files that a kill left half written."""
    for path in folder.iterdir():
        if path.name in names or _is_temporary(path.name, names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_temporary(name: str, names: Collection[str]) -> bool:
    """Whether `amago2.files.atomic` gives such a name to a half-written file of one of `names`."""
    return name.endswith(".tmp") and name[1:].rsplit(".", 2)[0] in names


def release(folder: Path, marker: str, names: Collection[str]) -> None:
    """Clear a folder of ours; delete it if we made it, and if nobody put anything else into it."""
    made = (folder / marker).read_bytes() != FOUND.encode()
    clear(folder, names)
    others = sorted(path.name for path in folder.iterdir() if path.name != marker)
    if others:
        say(f"{folder}: stays, as it holds {others[0]}, which is not the run's")
    (folder / marker).unlink()
    if made and not others:
        folder.rmdir()
