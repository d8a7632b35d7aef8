"""What of a budget's results the repository itself holds: `results/<budget>/published.json`.

Git keeps the small files of the runs of some experiments. A few of these runs have their checkpoint
in a DVC remote that lies in the repository too, so that a clone has all that a pointer names. Runs
that are not listed are a user's own, and are versioned as ever.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from amago2.config.documents import printable
from amago2.errors import ConfigError
from amago2.files import sha256, write_atomically
from workflow.dag.documents import Document, Name, Sha256, read_document

NAME = "published.json"
REMOTE = "published"
"""The remote of `.dvc/config` that lies in the repository, in `FOLDER`."""
FOLDER = Path("results") / "published"
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+/[A-Za-z0-9_]+/seed[0-9]+-[0-9a-f]{8}$")]


class Published(Document):
    """What the file holds."""

    experiments: list[Name] = []
    """Those that a budget shows if none is asked for."""
    runs: dict[RunName, Sha256] = {}
    """SHA-256 of the record of each of their runs, by the run's name."""
    checkpoints: list[RunName] = []
    """The runs whose checkpoint is in the remote."""

    def artifacts(self, run: str, record: Path) -> tuple[str, ...] | None:
        """Which artifacts of a run DVC versions, if it is a published one; None if it is not."""
        if run not in self.runs or not record.is_file() or sha256(record) != self.runs[run]:
            return None
        return ("checkpoint",) if run in self.checkpoints else ()

    def write(self, results: Path) -> None:
        """Write it to `results/<budget>`."""
        text = json.dumps(self.model_dump(), indent=1, sort_keys=True) + "\n"
        write_atomically(results / NAME, text)


def read(results: Path) -> Published:
    """What is published of `results/<budget>`; nothing if there is no such file.

    Raises `ConfigError`.
    """
    path = results / NAME
    try:
        found = read_document(path, Published)
    except FileNotFoundError:
        return Published()
    if others := sorted(set(found.checkpoints) - found.runs.keys()):
        raise ConfigError(f"{path}: checkpoints: {printable(others[0])} is none of its runs")
    return found
