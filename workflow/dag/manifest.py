"""The manifest: digests of everything that a budget made, and of what each file was made from.

Gathers the provenance records into `results/<budget>/manifest.json`: by kind and name, the SHA-256
of every output and input, of the parameters and of the code. `workflow.execute.verify` checks it.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.dag.documents import Document, Name, Provenance, read_document
from workflow.dag.provenance import FOLDER

TARGET = r"^[a-z]+/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$"


class Manifest(Document):
    """What the file holds."""

    budget: Name
    made: dict[Annotated[str, Field(pattern=TARGET)], Provenance]
    """By `kind/name`."""


def read(results: Path) -> Manifest:
    """The manifest of `results/<budget>`, which names files below that folder alone.

    Raises `ConfigError`.
    """
    path = results / "manifest.json"
    try:
        found = read_document(path, Manifest)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such manifest; `make reproduce BUDGET={results.name}` makes it"
        ) from None
    if found.budget != results.name:
        raise ConfigError(f"{path}: is the manifest of budget {found.budget}")
    for entry in found.made.values():
        for file in entry.outputs:
            if inside(file, results.name) is None:
                raise ConfigError(f"{path}: names {file!r}, which is not below {results}")
    return found


def inside(file: str, budget: str) -> PurePosixPath | None:
    """Where a file (`results/<budget>/...`) is within the budget's folder; None outside of it."""
    path = PurePosixPath(file.partition(f"/{budget}/")[2])
    outside = path.is_absolute() or not path.parts or ".." in path.parts or "\0" in file
    return None if outside else path


def manifest(results: Path) -> dict[str, Any]:
    """Gather all provenance records of `results/<budget>` but the manifest's own."""
    folder = results / FOLDER
    paths = {path.relative_to(folder).with_suffix(""): path for path in folder.glob("*/*.json")}
    ours = {str(n): p for n, p in sorted(paths.items()) if re.match(TARGET, str(n))}
    made = {
        name: read_document(path, Provenance).model_dump()
        for name, path in ours.items()
        if path.parent.name != "manifest"
    }
    return {"budget": results.name, "made": made}


def write(folder: Path) -> None:
    """Write the manifest of `results/<budget>`."""
    text = json.dumps(manifest(folder), indent=1, sort_keys=True) + "\n"
    write_atomically(folder / "manifest.json", text)
