"""Fetch the artifacts of runs and check them before anything uses them: `make pull`.

Plain `dvc pull` hands out a damaged object silently, and writes wherever a pointer or a listing
says. Here, pointers and listings are read first, so that DVC fetches the files of the run's record
into the run's folder and nothing else; then every file is compared with the SHA-256 in the record,
which git keeps. A file that differs is removed, from the run's folder and from DVC's cache, and
fetched once more.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.errors import ConfigError, RunError
from amago2.files import open_regular, write_atomically
from workflow.dag import published
from workflow.dag.pointers import Pointer, pointer_path, read_pointer
from workflow.dvc import listing
from workflow.dvc.add import VersioningError, default_remote, dvc, require_repository

ABSENT = ("Checkout failed", "No such file", "Not Found", "does not exist")
"""Parts of DVC's messages about objects that the remote does not have."""
Pointers = Mapping[Path, Pointer]
"""By the folder that they are pointers to."""


def pull(runs: Sequence[Path], parts: Sequence[str]) -> None:
    """Fetch these parts of the runs.

    Raises `ConfigError` if a run is not versioned, or its pointer names anything but its own
    folder; `VersioningError` if DVC cannot fetch it; and `RunError` if the remote's copy is damaged
    or not that of the record. No partial folder is left then.
    """
    require_repository()
    pointers = {run / part: _checked(run, part) for run in runs for part in parts}
    try:
        _discard_damaged(pointers)
        _fetch(pointers)
        if damaged := _discard_damaged(pointers):
            _fetch(damaged)
        for folder in pointers:
            _check(folder)
    except (VersioningError, RunError):
        _discard_damaged(pointers)
        raise


def _checked(run: Path, part: str) -> Pointer:
    """The pointer to a part of a run, which is safe to fetch. Raises `ConfigError`."""
    folder = run / part
    _refuse_links(folder)
    if (pointer := read_pointer(folder)) is None:
        raise ConfigError(f"{pointer_path(folder)}: no such pointer; was this run versioned?")
    if not (recorded := _recorded(folder)):
        raise ConfigError(f"{run / run_record.NAME}: names no file of the {part}")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if others := sorted(names - recorded.keys()):
        raise ConfigError(
            f"{folder}: holds {others[0]}, which is no file of the run by its record; "
            "move the folder away, and it is fetched anew"
        )
    return pointer


def _refuse_links(folder: Path) -> None:
    """Raise `ConfigError` unless the folder lies in this one, with no link on the way to it."""
    here, path = Path.cwd(), folder.absolute()
    if here not in path.parents or ".." in path.parts:
        raise ConfigError(f"{folder}: is not below {here}; start in the checkout it belongs to")
    inside = [parent for parent in path.parents if here in parent.parents]
    for part in (*reversed(inside), path):
        if part.is_symlink():
            raise ConfigError(f"{part}: is a link; artifacts are fetched into real folders only")
        if os.path.lexists(part) and not part.is_dir():
            raise ConfigError(f"{part}: is no folder; move it away")


def _recorded(folder: Path) -> Mapping[str, str]:
    """SHA-256 of the folder's files by name, as its run's record says."""
    found: Mapping[str, str] = run_record.read(folder.parent).get(f"{folder.name}_sha256", {})
    return found


def _fetch(pointers: Pointers) -> None:
    """Have DVC fetch the folders that are not there."""
    missing = {folder: pointer for folder, pointer in pointers.items() if not folder.exists()}
    if not missing:
        return
    try:
        for folder, pointer in missing.items():
            _fetch_listing(folder, pointer)
        dvc("pull", *(str(pointer_path(folder)) for folder in missing))
    except VersioningError as error:
        _discard_unfinished(time.time())
        left = [folder for folder in missing if not folder.exists()]
        if not (left and _absent(error)):
            raise
        try:
            # DVC says only here why it could not write objects that it has fetched.
            dvc("checkout", "-v", *(str(pointer_path(folder)) for folder in left))
        except VersioningError as cause:
            if not _absent(cause):
                raise
            raise VersioningError(_not_there(left[0], pointers[left[0]])) from None


def _not_there(folder: Path, pointer: Pointer) -> str:
    if pointer.remote:
        place = published.FOLDER
        return (
            f"{folder}: is not in {place}, which comes with the repository; `git checkout {place}`"
        )
    return (
        f"{folder}: is not in the remote {default_remote() or '(none is set)'}; whoever trained it "
        "must `dvc push`, or set the right remote with `dvc remote add -d`"
    )


def _fetch_listing(folder: Path, pointer: Pointer) -> None:
    """Put the folder's listing into DVC's cache, where DVC finds it, once it is checked.

    Raises `VersioningError` if DVC cannot fetch it, `RunError` if it is damaged or names anything
    but the files of the run's record.
    """
    kept = _object(_cache(), pointer.md5)
    content = _content(kept)
    if known := listing.is_named(content, pointer.md5):
        found = content
    else:
        found = _from_remote(folder, pointer)
    try:
        if not listing.is_named(found, pointer.md5):
            raise RunError("is damaged (its MD5 is not that of the pointer)")
        listing.check(found, _recorded(folder))
    except RunError as error:
        raise RunError(f"{folder}: its listing in DVC's cache or remote {error}") from None
    if not known:
        write_atomically(kept, found)


def _content(path: Path) -> bytes:
    try:
        return listing.read_bytes(path)
    except FileNotFoundError:
        return b""


def _from_remote(folder: Path, pointer: Pointer) -> bytes:
    """The content of a folder's listing in its remote."""
    if not (remote := pointer.remote or default_remote()):
        raise VersioningError(_not_there(folder, pointer))
    name = pointer.md5
    url = f"remote://{remote}/files/md5/{name[:2]}/{name[2:]}"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "listing"
        dvc("get-url", url, str(path))
        return listing.read_bytes(path)


def _absent(error: VersioningError) -> bool:
    said = str(error)
    return any(sign in said for sign in ABSENT) and "bucket does not exist" not in said


def _discard_unfinished(ended: float) -> None:
    """Remove what a failed fetch left in DVC's cache, but no file of a fetch that began later."""
    for path in _cache().glob("*/.*.tmp"):
        if path.stat().st_mtime <= ended:
            path.unlink()


def _discard_damaged(pointers: Pointers) -> Pointers:
    damaged = {
        folder: pointer
        for folder, pointer in pointers.items()
        if folder.exists() and not _whole(folder)
    }
    for folder, pointer in damaged.items():
        _discard(folder, pointer)
    return damaged


def _check(folder: Path) -> None:
    run_record.check_artifact(folder.parent, folder.name, run_record.read(folder.parent))


def _whole(folder: Path) -> bool:
    try:
        _check(folder)
    except (ConfigError, RunError):
        return False
    return True


def _discard(folder: Path, pointer: Pointer) -> None:
    """Remove a folder, and its damaged objects from DVC's cache."""
    shutil.rmtree(folder, ignore_errors=True)
    cache = _cache()
    kept = _object(cache, pointer.md5)
    for path in (kept, *(_object(cache, name) for name in listing.objects(kept))):
        if path.is_file() and not path.is_symlink():
            with open_regular(path) as file:
                content = hashlib.file_digest(file, _md5).hexdigest()
            if content != path.parent.name + path.name.removesuffix(".dir"):
                path.unlink()


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _cache() -> Path:
    return Path(dvc("cache", "dir", check=False)) / "files" / "md5"


def _object(cache: Path, name: str) -> Path:
    return cache / name[:2] / name[2:]
