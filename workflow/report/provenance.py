"""What each figure and table was made from, and the runs behind the tidy tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from amago2.config.schema import RunConfig
from amago2.errors import ConfigError
from workflow.analysis import frames
from workflow.analysis.tidy import COLUMNS
from workflow.config.catalog import Spec
from workflow.dag.documents import Provenance, read_document
from workflow.dag.provenance import record_path

TRAINING_VERSION = int(RunConfig.model_fields["training_version"].default)
_SHOWN = {
    "benchmark": "benchmark", "variant": "variant", "cell": "cell", "seed": "seed", "run": "run",
    "state": "state", "mark": "", "git_commit": "commit", "lock_sha256": "lock",
    "container_digest": "container", "training_version": "version",
}  # fmt: skip
_DIGESTS = ("git_commit", "lock_sha256", "container_digest")


@dataclass(frozen=True)
class Grid:
    """A table for the page: its head, its rows as text, and which columns are right-aligned."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[bool]


class Runs:
    """The runs of a budget, as their experiments' tidy tables list them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, pd.DataFrame] = {}

    def of(self, experiment: str) -> pd.DataFrame:
        """Rows of `<experiment>.runs.csv` with a `mark`, which is empty if there is nothing odd."""
        if experiment not in self._read:
            path = self.folder / "tables" / "data" / f"{experiment}.runs.csv"
            self._read[experiment] = _marked(path) if path.exists() else pd.DataFrame()
        return self._read[experiment]

    def finished(self, spec: Spec, known: Sequence[str]) -> bool:
        """Whether a figure or table needs no run, or has a finished one."""
        every = [self.of(name) for name in spec.of(known)]
        return not spec.experiments or any((f.state == "finished").any() for f in every if len(f))

    def compute(self, experiment: str) -> pd.DataFrame:
        """What an experiment's runs took; empty if it was not run."""
        path = self.folder / "tables" / "data" / f"{experiment}.compute.csv"
        return frames.read(f"{experiment}.compute", path)

    def grid(self, experiment: str) -> Grid:
        """For reading: digests in their first eight letters."""
        shown = self.of(experiment)[list(_SHOWN)]
        shown = shown.assign(**{name: shown[name].str.slice(0, 8) for name in _DIGESTS})
        return Grid(list(_SHOWN.values()), shown.to_numpy().tolist(), [False] * len(_SHOWN))

    def marks(self, experiments: Sequence[str]) -> str:
        """How many of the experiments' runs are marked, in words; empty if none is."""
        every = [self.of(name) for name in experiments]
        found = pd.concat([frame for frame in every if len(frame)] or [pd.DataFrame({"mark": []})])
        counts = found[found.mark != ""].mark.value_counts().sort_index()
        return "; ".join(f"{count} of {len(found)} runs: {mark}" for mark, count in counts.items())


def _marked(path: Path) -> pd.DataFrame:
    runs = frames.read_csv(path, dtype=str)
    if lacking := [name for name in COLUMNS["runs"] if name not in runs]:
        raise ConfigError(f"{path}: has no column {lacking[0]}; `make tables` makes it anew")
    finished = runs.state == "finished"
    marks = pd.Series("", runs.index)
    for text, marked in (
        ("⚠ uncommitted changes", runs.git_dirty == "True"),
        ("⚠ another training version", runs.training_version != str(TRAINING_VERSION)),
        ("⚠ resumed: not bit-exact", runs.resumed == "not bit-exact"),
    ):
        marks = marks.where(~(finished & marked), marks + f" {text}")
    return runs.assign(mark=marks.str.strip())


def provenance(kind: str, name: str, folder: Path, runs: Runs) -> dict[str, Any] | None:
    """What `kind`/`name` was made from; None without a provenance record."""
    path = record_path(folder, kind, name)
    if not path.exists():
        return None
    made = read_document(path, Provenance)
    sources = [_source(path, digest, runs) for path, digest in made.inputs.items()]
    experiments = list(dict.fromkeys(s["experiment"] for s in sources if s["experiment"]))
    return {
        "parameters": made.parameters[:8],
        "code": made.code[:8],
        "sources": sources,
        "marks": runs.marks(experiments),
    }


def _source(path: str, digest: str | None, runs: Runs) -> dict[str, Any]:
    experiment = Path(path).name.partition(".")[0] if "/tables/data/" in path else ""
    known = len(runs.of(experiment)) if experiment else 0
    return {
        "path": path,
        "sha": (digest or "missing")[:8],
        "experiment": experiment if known else "",
        "runs": known,
    }
