"""Training runs of the DAG, and where each lies below `results/<budget>`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from amago2.config.schema import RunConfig
from workflow.config.experiments import Matrix
from workflow.dag import published

ARTIFACTS = ("checkpoint", "replay")
"""A run's folders that DVC versions; git keeps a pointer (`<folder>.dvc`) to each."""


@dataclass(frozen=True)
class Run:
    """One training run."""

    config: RunConfig
    results: Path
    """The budget's folder."""
    selected: bool
    """Is it asked for? If not, it is shown where it is finished, and never trained."""
    artifacts: tuple[str, ...] = ARTIFACTS
    """Those that DVC versions."""

    @property
    def name(self) -> str:
        """Benchmark, variant, seed and the hash of the complete configuration."""
        return self.config.run_name

    @property
    def folder(self) -> Path:
        """Where the finished run is published."""
        return self.results / "runs" / self.name

    @property
    def record(self) -> Path:
        """Written last: a run is finished if it has a record."""
        return self.folder / "record.json"

    @property
    def scratch(self) -> Path:
        """Where the unfinished run lives."""
        return self.results / ".scratch" / self.config.hash

    @property
    def settings(self) -> Path:
        """The complete configuration, as a file for the trainer."""
        return self.results / ".scratch" / "configs" / f"{self.config.hash}.yaml"

    @property
    def log(self) -> Path:
        """What its job printed."""
        return self.results / ".logs" / "runs" / f"{self.name}.log"

    @property
    def pointers(self) -> list[Path]:
        """DVC's pointers to its artifacts."""
        return [self.folder / f"{name}.dvc" for name in self.artifacts]

    @cached_property
    def finished(self) -> bool:
        """Was it finished when this was first asked?"""
        return self.record.is_file()


def runs_of(matrices: Iterable[Matrix], results: Path) -> dict[str, Run]:
    """All runs of the experiments by name; one that several share is selected if any selects it."""
    listed = published.read(results)
    runs: dict[str, Run] = {}
    for member in (member for matrix in matrices for member in matrix.members):
        name = member.config.run_name
        selected = member.selected or (name in runs and runs[name].selected)
        run = Run(member.config, results, selected)
        runs[name] = replace(run, artifacts=_artifacts(run, listed))
    return runs


def _artifacts(run: Run, listed: published.Published) -> tuple[str, ...]:
    replay = run.config.checkpoint.with_replay
    own = tuple(name for name in ARTIFACTS if replay or name != "replay")
    kept = listed.artifacts(run.name, run.record)
    return own if kept is None else kept
