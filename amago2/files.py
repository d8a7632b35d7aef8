"""Atomic writes, checksums, and checks of folders."""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError, RunError

MAX_BYTES = 64 * 2**30
"""Of any file whose digest is taken: the largest have a network's weights."""
MAX_JSON_BYTES = 64 * 2**20
"""More than the largest file of ours has, by far."""
LARGEST = {".json": MAX_JSON_BYTES, ".yaml": MAX_JSON_BYTES, ".csv": 8 * 2**30}
"""Bytes of files by suffix, where they are fewer."""


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success, sync and rename it to `path`.

    If not `durable`, the system decides when it reaches the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path, temporary):
        try:
            yield temporary
            if durable:
                sync(temporary)
            os.replace(temporary, path)
            if durable:
                sync(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Have errors of the operating system name `path`: those of reads and writes name no file.

    An error that names `temporary`, which stands for `path`, names `path` too.
    """
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, temporary, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise


def write_atomically(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Replace the file's content in one step; its folder is made if need be."""
    write_together({path: content}, durable)


def write_together(contents: Mapping[Path, bytes | str], durable: bool = True) -> None:
    """Replace several files, whose folders are made if need be.

    All are complete on disk before the first takes its place, so that a full disk leaves every file
    as it was.
    """
    partial = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            with naming(path, partial[path]):
                partial[path].write_bytes(content.encode() if isinstance(content, str) else content)
                if durable:
                    sync(partial[path])
        for path in contents:
            os.replace(partial[path], path)
        for folder in {path.parent for path in contents} if durable else ():
            sync(folder)
    finally:
        for temporary in partial.values():
            with contextlib.suppress(OSError):
                temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder and those above it that do not exist, and have their names reach the disk."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        sync(folder.parent)


def open_regular(path: Path | str, limit: int | None = None) -> BufferedReader:
    """Open a file that somebody else may have put there, for reading.

    Never waits or takes memory without bound: `ConfigError` if it is anything but a regular file
    (or a link to one), or larger than `limit` bytes. Raises `OSError` as `open` does.
    """
    # Without O_NONBLOCK, opening a named pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is {_kind(status.st_mode)}; it must be a regular file")
        if limit is not None and status.st_size > limit:
            raise ConfigError(
                f"{path}: has {status.st_size:,} bytes; a file of this kind has at most {limit:,}"
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def refuse_other_file(path: Path, kind: str, is_one: Callable[[bytes], bool]) -> None:
    """Raise `ConfigError` if writing `path` would replace anything but a file of this kind.

    `is_one` says so of its first bytes.
    """
    if os.path.lexists(path):
        with open_regular(path) as file:
            start = file.read(256)
        if start and not is_one(start):
            raise ConfigError(f"{path}: exists and is no {kind}; name another file")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON mapping; empty if there is no such file, or no mapping in it."""
    try:
        with open_regular(path, MAX_JSON_BYTES) as file:
            content = json.loads(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush a folder to disk with all that is in it; its own name is in its parent's entries."""
    for path in folder.iterdir():
        if path.is_dir():
            sync_tree(path)
        else:
            sync(path)
    sync(folder)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a regular file that is not larger than any of its kind can be.

    Reading goes on for hours in a file that claims a size beyond all bounds. Raises as
    `open_regular` does.
    """
    limit = LARGEST.get(path.suffix, MAX_BYTES)
    with naming(path), open_regular(path, limit) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def check_sums(folder: Path, expected: Mapping[str, str]) -> None:
    """Raise `RunError` if one of these files is missing, or its SHA-256 is another."""
    for name, digest in expected.items():
        if not os.path.lexists(folder / name):
            raise RunError(f"{folder}: {name} is missing")
        if sha256(folder / name) != digest:
            raise RunError(f"{folder}: {name} is damaged (its SHA-256 is not the recorded one)")
