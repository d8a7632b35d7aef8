"""Fetch the artifacts of runs and check them before anything uses them: `make pull`.

Plain `dvc pull` does the same without the check, and hands out a damaged object silently. Here,
every file is compared with the SHA-256 in the run's record, which git keeps. A file that differs is
removed, from the run's folder and from DVC's cache, and fetched once more.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from amago2 import run_record
from amago2.config.documents import read_yaml
from amago2.errors import ConfigError, RunError
from workflow.dvc.add import VersioningError, default_remote, dvc, require_repository

ABSENT = ("Checkout failed", "No such file", "Not Found")
"""Parts of DVC's messages about objects that the remote does not have."""


def pull(runs: Sequence[Path], parts: Sequence[str]) -> None:
    """Fetch these parts of the runs.

    Raises `ConfigError` if a run is not versioned, `VersioningError` if DVC cannot fetch it, and
    `RunError` if the remote's copy is damaged. No partial folder is left then.
    """
    require_repository()
    folders = [run / part for run in runs for part in parts]
    for folder in folders:
        if not pointer(folder).is_file():
            raise ConfigError(f"{pointer(folder)}: no such pointer; was this run versioned?")
        run_record.read(folder.parent)  # else nothing tells what is damaged
    try:
        _discard_damaged(folders)
        _fetch(folders)
        if damaged := _discard_damaged(folders):
            _fetch(damaged)
            for folder in damaged:
                _check(folder)
    except (VersioningError, RunError):
        _discard_damaged(folders)
        raise


def pointer(folder: Path) -> Path:
    """The file that git keeps in place of a folder that DVC versions."""
    return folder.with_name(f"{folder.name}.dvc")


def _fetch(folders: Sequence[Path]) -> None:
    try:
        dvc("pull", *(str(pointer(folder)) for folder in folders))
    except VersioningError as error:
        _discard_unfinished(time.time())
        missing = [folder for folder in folders if not folder.exists()]
        if not (missing and _absent(error)):
            raise
        try:
            # DVC says only here why it could not write objects that it has fetched.
            dvc("checkout", "-v", *(str(pointer(folder)) for folder in missing))
        except VersioningError as cause:
            if not _absent(cause):
                raise
            remote = default_remote() or "(none is set)"
            raise VersioningError(
                f"{missing[0]}: is not in the remote {remote}; whoever trained it must `dvc push`, "
                "or set the right remote with `dvc remote add -d`"
            ) from None


def _absent(error: VersioningError) -> bool:
    return any(sign in str(error) for sign in ABSENT)


def _discard_unfinished(ended: float) -> None:
    """Remove what a failed fetch left in DVC's cache, but no file of a fetch that began later."""
    for path in _cache().glob("*/.*.tmp"):
        if path.stat().st_mtime <= ended:
            path.unlink()


def _discard_damaged(folders: Sequence[Path]) -> list[Path]:
    damaged = [folder for folder in folders if folder.exists() and not _whole(folder)]
    for folder in damaged:
        _discard(folder)
    return damaged


def _check(folder: Path) -> None:
    run_record.check_artifact(folder.parent, folder.name, run_record.read(folder.parent))


def _whole(folder: Path) -> bool:
    try:
        _check(folder)
    except RunError:
        return False
    return True


def _discard(folder: Path) -> None:
    """Remove a folder, and its damaged objects from DVC's cache."""
    shutil.rmtree(folder, ignore_errors=True)
    cache = _cache()
    listing = _object(cache, str(read_yaml(pointer(folder))["outs"][0]["md5"]))
    try:
        names = [str(entry["md5"]) for entry in json.loads(listing.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError):
        names = []
    for path in (listing, *(_object(cache, name) for name in names)):
        if path.is_file():
            content = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if content != path.parent.name + path.name.removesuffix(".dir"):
                path.unlink()


def _cache() -> Path:
    return Path(dvc("cache", "dir", check=False)) / "files" / "md5"


def _object(cache: Path, name: str) -> Path:
    return cache / name[:2] / name[2:]
