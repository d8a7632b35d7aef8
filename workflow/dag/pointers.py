"""DVC's pointers to folders, read by us before DVC reads them: they may come from somebody else.

To DVC, a pointer may name any path, another remote or a URL to import from. Ours name the folder
beside them and the MD5 of its listing, as `dvc add` writes it, and no remote but the one that lies
in the repository.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from amago2.config.documents import read_yaml
from amago2.errors import ConfigError
from amago2.files import open_regular, write_atomically
from workflow.dag.published import REMOTE

MAX_BYTES = 65_536
FOLDER = re.compile(r"[0-9a-f]{32}\.dir")
OUT = {"md5", "size", "nfiles", "hash", "path", "remote"}


class Pointer(NamedTuple):
    """What a pointer says of its folder."""

    md5: str
    """MD5 of the folder's listing, and `.dir`: the name of the listing in cache and remote."""
    size: int
    """Bytes of all its files; 0 if it does not say."""
    remote: str = ""
    """Where they are kept; the default remote if it does not say."""


def pointer_path(folder: Path) -> Path:
    """The file that git keeps in place of a folder that DVC versions."""
    return folder.with_name(f"{folder.name}.dvc")


def read_pointer(folder: Path) -> Pointer | None:
    """The pointer to a folder; None if there is none. Raises `ConfigError` if it is no such."""
    path = pointer_path(folder)
    if path.is_symlink():
        raise ConfigError(f"{path}: is a link; a pointer must be a file")
    try:
        open_regular(path, MAX_BYTES).close()
    except FileNotFoundError:
        return None
    content = read_yaml(path)
    if wrong := _wrong(content, folder.name):
        raise ConfigError(f"{path}: {wrong}; `dvc add {folder}` writes a pointer that can be used")
    (out,) = content["outs"]
    return Pointer(out["md5"], out.get("size", 0), out.get("remote", ""))


def publish_pointer(folder: Path, in_repository: bool) -> None:
    """Have the pointer to a folder name the remote in the repository, or the default one."""
    path = pointer_path(folder)
    content = read_yaml(path)
    (out,) = content["outs"]
    out.pop("remote", None)
    if in_repository:
        out["remote"] = REMOTE
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))


def _wrong(content: dict[str, Any], name: str) -> str | None:
    """What keeps the content from being a pointer to the folder `name`."""
    if others := sorted(map(str, content.keys() - {"outs"})):
        return f"has the key {others[0]!r}, and a pointer has `outs` alone"
    outs = content["outs"]
    if not (isinstance(outs, list) and len(outs) == 1 and isinstance(outs[0], dict)):
        return "does not have exactly one entry in `outs`"
    (out,) = outs
    if others := sorted(map(str, out.keys() - OUT)):
        return f"outs has the key {others[0]!r}, which `dvc add` does not write"
    if out.get("path") != name:
        return f"names the path {out.get('path')!r}, not the folder {name} beside it"
    if out.get("remote", REMOTE) != REMOTE:
        return f"names a remote other than {REMOTE}, the one in the repository"
    if out.get("hash") != "md5" or not FOLDER.fullmatch(str(out.get("md5"))):
        return "does not name a folder by `hash: md5` and an MD5 that ends in .dir"
    if not all(_is_count(out.get(key, 0)) for key in ("size", "nfiles")):
        return "has a size or nfiles that is no number of bytes or files"
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
