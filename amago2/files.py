"""Atomic writes, checksums, and checks of folders."""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from amago2.errors import ConfigError, RunError


@contextlib.contextmanager
def atomic(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success, sync and rename it to `path`.

    If not `durable`, the system decides when it reaches the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file's content in one step; its folder is made if need be."""
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | str]) -> None:
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
            partial[path].write_bytes(content.encode() if isinstance(content, str) else content)
            sync(partial[path])
        for path in contents:
            os.replace(partial[path], path)
        for folder in {path.parent for path in contents}:
            sync(folder)
    finally:
        for temporary in partial.values():
            temporary.unlink(missing_ok=True)


def open_regular(path: Path | str, limit: int | None = None) -> BinaryIO:
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_file_mode() -> int:
    """The mode that the process's umask gives to new files; asking the system would change it."""
    status = Path("/proc/self/status").read_text()
    return 0o666 & ~int(status.partition("Umask:")[2].split()[0], 8)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def check_part(run: Path, part: str, record: Mapping[str, Any]) -> None:
    """Check `checkpoint` or `replay` of a run against its record. Raises `RunError`."""
    folder = run / part
    expected: dict[str, str] = record.get(f"{part}_sha256", {})
    if not folder.is_dir():
        fetch = f"; `dvc pull {folder}.dvc` fetches it" if Path(f"{folder}.dvc").exists() else ""
        raise RunError(f"{run}: its {part} is missing{fetch}")
    found = sums(folder)
    for name, digest in expected.items():
        if name not in found:
            raise RunError(f"{folder}: {name} is missing")
        if found[name] != digest:
            raise RunError(f"{folder}: {name} is damaged (its SHA-256 is not the recorded one)")
