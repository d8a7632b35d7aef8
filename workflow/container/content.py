"""Digest of the files in an image, which does not depend on the engine or the time of building."""

import hashlib
import subprocess
import tarfile
from io import BufferedReader
from typing import IO, cast

from amago2.errors import ConfigError

ENGINES_OWN = frozenset(
    {".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf"}
)
"""What an engine adds to every container: not part of the image."""


def content_digest(engine: str, tag: str) -> str:
    """SHA-256 of an image's files. Raises `ConfigError` if the engine cannot export them."""
    done = subprocess.run([engine, "create", tag], capture_output=True, text=True, check=True)
    container = done.stdout.strip()
    try:
        with subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout
            digest = tar_digest(export.stdout)
        if export.returncode:
            raise ConfigError(f"`{engine} export` failed; is the disk full?")
        return digest
    finally:
        subprocess.run([engine, "rm", container], capture_output=True, check=True)


def tar_digest(stream: IO[bytes]) -> str:
    """SHA-256 over path, type, mode, owner, link and content of each file, in order of paths.

    A hard link counts as the file that it is, whichever of its names the engine lists first.
    """
    lines: list[str] = []
    contents: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").strip("/")
            if name in ENGINES_OWN or name.partition("/")[0] in ("dev", "proc", "sys"):
                continue
            kind, link = member.type.decode("ascii", "replace"), member.linkname
            if member.islnk():
                kind, link, contents[name] = "0", "", contents[link.removeprefix("./").strip("/")]
            elif file := archive.extractfile(member) if member.isreg() else None:
                contents[name] = hashlib.file_digest(
                    cast("BufferedReader", file), "sha256"
                ).hexdigest()
            owner = f"{member.mode:o} {member.uid}:{member.gid}"
            lines.append(f"{name}\t{kind}\t{owner}\t{link}\t{contents.get(name, '')}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
