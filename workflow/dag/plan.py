"""The plan of a budget: its runs and targets, and which of them are still to be made.

Read by the Snakefile, which makes them; by `workflow.execute`, which shows how far that is; and by
`workflow.estimate`, which says how long it takes. Imports nothing heavy: it is read at every start.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from amago2.files import write_atomically
from workflow.config.experiments import Matrix, Selection, matrices
from workflow.config.parameters import Parameters
from workflow.container.image import Image, drop_stale_record
from workflow.dag.runs import Run, runs_of
from workflow.dag.targets import Target, TargetPlanner
from workflow.setup.clean import mark


@dataclass(frozen=True)
class Dag:
    """Runs, then targets in the order in which they can be made."""

    selection: Selection
    results: Path
    """The budget's folder."""
    matrices: list[Matrix]
    runs: dict[str, Run]
    """By name."""
    targets: list[Target]

    @property
    def pending(self) -> list[Run]:
        """Runs to train."""
        return [run for run in self.runs.values() if run.selected and not run.finished]

    @property
    def stale(self) -> list[Target]:
        """Targets to make."""
        return [target for target in self.targets if not target.up_to_date]

    def of(self, kind: str) -> list[Target]:
        """Targets of one kind."""
        return [target for target in self.targets if target.kind == kind]

    @property
    def left_out(self) -> list[str]:
        """Sentences on what was asked for but lacks what its user must bring."""
        return [sentence for matrix in self.matrices for sentence in matrix.left_out]

    @cached_property
    def image(self) -> Image | None:
        """The container image that runs are trained in; None on the host."""
        runtime = self.selection.runtime
        return None if runtime == "host" else Image.wanted(runtime)

    def listing(self, experiment: str) -> Path:
        """The experiment's list of runs, for its job, which copies it beside the tidy tables."""
        return self.results / ".scratch" / "experiments" / f"{experiment}.json"

    def write(self) -> None:
        """Write what Snakemake and its jobs read: listings, configurations, fingerprints, stamps.

        All of it lies below `.scratch`: planning changes nothing that git keeps.
        """
        for name in (".scratch", ".logs"):
            mark(self.results / name)
        for matrix in self.matrices:
            write_atomically(self.listing(matrix.name), matrix.to_json())
        for run in self.pending:
            if not run.settings.is_file():
                write_atomically(run.settings, run.config.to_yaml())
        for target in self.targets:
            target.fingerprint.write(target.fingerprint_file)
            target.update_stamp()
        if self.image and self.pending:
            drop_stale_record(self.image)


def plan(
    selection: Selection, params: Path = Path("params"), results: Path = Path("results")
) -> Dag:
    """Resolve and validate everything that the selection asks for. Raises `ConfigError`."""
    parameters = Parameters(params)
    folder = results / selection.budget
    listed = [matrix for matrix in matrices(parameters, selection) if matrix.members]
    runs = runs_of(listed, folder)
    targets = list(TargetPlanner(listed, runs, folder, parameters).targets())
    return Dag(selection, folder, listed, runs, targets)
