"""Targets: what the DAG makes from runs and from other targets, and which of them are up to date.

A target is up to date if its provenance record agrees with its fingerprint and all its files are as
recorded, byte for byte. It has a *stamp*, an empty file, exactly while it is up to date. The stamp
is all that Snakemake looks at: it makes what has no stamp.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from amago2.errors import ConfigError
from workflow.analysis import claims, final_scores, hyperparameters
from workflow.analysis.tidy import COLUMNS, Row
from workflow.config import catalog
from workflow.config.catalog import FigureSpec, Spec, TableSpec
from workflow.config.experiments import Matrix
from workflow.config.parameters import Parameters, unknown
from workflow.dag import fingerprints, provenance, published
from workflow.dag.fingerprints import Fingerprint, code_digest, value_digest
from workflow.dag.runs import Run

DrawnSpec = FigureSpec | TableSpec
REPORT_TEMPLATE = "workflow/report/page.html"
COMPUTED = {
    "hyperparameters": "analysis.hyperparameters",
    "relative_loss": "analysis.relative_loss",
    "claims": "analysis.claims",
}
"""Modules that make tidy tables without any run, by the table's name."""
STALE = "stale"
"""Stands for the digest of a file that will be made anew; equal to no real digest."""


@dataclass(frozen=True)
class Target:
    """The files that one job makes."""

    kind: str
    """data, computed, figures, tables, version, describe, report or manifest."""
    name: str
    results: Path
    fingerprint: Fingerprint
    up_to_date: bool
    """When this was planned."""
    stamped: bool
    """Did it have a stamp just before that?"""
    needs: tuple[Path, ...]
    """Files that must exist before its job: stamps of other targets, records of pending runs."""

    @property
    def provenance(self) -> Path:
        """Its provenance record."""
        return Path(self.fingerprint.provenance)

    @property
    def stamp(self) -> Path:
        """Exists exactly while the target is up to date; content and file time mean nothing."""
        return stamp_path(self.results, self.kind, self.name)

    @property
    def fingerprint_file(self) -> Path:
        """The fingerprint for the job, which writes the provenance record from it."""
        return self.results / ".scratch" / "fingerprints" / self.kind / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What its job printed."""
        return self.results / ".logs" / self.kind / f"{self.name}.log"

    def names_in(self, folder: str) -> list[str]:
        """Names of its outputs that lie in that folder of the results."""
        outputs = map(Path, self.fingerprint.outputs)
        return [path.name for path in outputs if path.parent == self.results / folder]

    def update_stamp(self) -> None:
        """Create the stamp of a target that is up to date, else remove it.

        A stamp that has appeared since planning is left: another Snakemake has just made the target
        and looks for it.
        """
        if self.up_to_date:
            self.stamp.parent.mkdir(parents=True, exist_ok=True)
            self.stamp.touch()
        elif self.stamped:
            self.stamp.unlink(missing_ok=True)


def stamp_path(results: Path, kind: str, name: str) -> Path:
    """Where the stamp of a target of `results/<budget>` is kept."""
    return results / ".scratch" / "stamps" / kind / name


class TargetPlanner:
    """Lists all targets of a budget, each after those that it is made from."""

    def __init__(
        self, matrices: list[Matrix], runs: Mapping[str, Run], results: Path, parameters: Parameters
    ) -> None:
        self._matrices = {matrix.name: matrix for matrix in matrices}
        self._selected = sorted(matrix.name for matrix in matrices if matrix.selected)
        self._results = results
        self._parameters = parameters
        self._experiments = parameters.names("experiments")
        self._budget = parameters.budget(results.name)
        self._runs = [run for run in runs.values() if run.selected or run.finished]
        pending = [run.record for run in self._runs if not run.finished]
        self._digests = dict.fromkeys(map(str, pending), STALE)
        """Of everything that is made: as recorded, or `STALE`."""
        self._needed_for = {str(record): record for record in pending}
        """What a job that reads a file needs: a pending run's record, or the stamp of the target
        that makes the file."""
        self._up_to_date: set[Path] = set()
        """Stamps."""

    def targets(self) -> Iterator[Target]:
        """All of them. Raises `ConfigError` for a figure or table of an unknown experiment."""
        specs = self._specs()
        shown = [spec for spec in specs if spec.drawable(self._selected)]
        outputs: dict[str, None] = {}
        for target in self._all_but_manifest(specs, shown):
            outputs |= dict.fromkeys(target.fingerprint.outputs)
            yield target
        outputs |= dict.fromkeys(self._outputs(specs))
        yield self._manifest(list(outputs))

    def _all_but_manifest(self, specs: list[DrawnSpec], shown: list[DrawnSpec]) -> Iterator[Target]:
        for name in self._selected:
            yield self._tidy(self._matrices[name])
        for name in sorted({name for spec in shown for name in spec.data}):
            yield self._computed(name)
        for spec in shown:
            yield self._drawn(spec)
        if self._runs:
            yield self._version()
            yield self._describe(specs)
        yield self._report(specs)

    def _specs(self) -> list[DrawnSpec]:
        """Figures and tables that need no run, or show an experiment of this budget."""
        folder = self._parameters.folder
        specs: list[DrawnSpec] = [*catalog.figures(folder).values()]
        specs += catalog.tables(folder).values()
        for spec in specs:
            self._check_experiments(spec)
        return [spec for spec in specs if spec.drawable(list(self._matrices))]

    def _check_experiments(self, spec: Spec) -> None:
        for name in spec.experiments if isinstance(spec.experiments, tuple) else ():
            if name not in self._experiments:
                source = str(self._parameters.folder / spec.kind / f"{spec.name}.yaml")
                message = unknown(f"experiment {name}", name, self._experiments, source)
                raise ConfigError(message)

    def _outputs(self, specs: list[DrawnSpec]) -> list[str]:
        return [str(path) for spec in specs for path in spec.outputs(self._results)]

    def _tidy(self, matrix: Matrix) -> Target:
        """Tidy tables of an experiment, from its finished runs and those about to be trained."""
        members = {member.config.run_name for member in matrix.members}
        records = sorted(str(run.record) for run in self._runs if run.name in members)
        data = self._results / "tables" / "data"
        return self._target(
            "data",
            matrix.name,
            "analysis.tidy",
            "analysis.final_scores",
            inputs=records,
            outputs=[
                str(self._results / "experiments" / f"{matrix.name}.json"),
                *(str(data / f"{matrix.name}.{kind}.csv") for kind in COLUMNS),
                *(str(self._results / "metrics" / name) for name in _score_files(matrix)),
            ],
            values=matrix.to_json(),
        )

    def _computed(self, name: str) -> Target:
        """A tidy table that needs no run."""
        output = str(self._results / "tables" / "data" / f"{name}.csv")
        reads = {"hyperparameters": self._hyperparameters, "claims": self._claims}
        values = reads[name]() if name in reads else None
        return self._target(
            "computed", name, COMPUTED[name], inputs=[], outputs=[output], values=values
        )

    def _hyperparameters(self) -> list[Row]:
        return list(hyperparameters.rows(self._parameters))

    def _claims(self) -> list[Row]:
        return list(claims.rows(self._parameters.folder))

    def _drawn(self, spec: DrawnSpec) -> Target:
        """A figure or table. Of an experiment that is not selected, it shows what exists."""
        sources = spec.inputs(self._results, list(self._matrices))
        return self._target(
            spec.kind,
            spec.name,
            "render.draw",
            f"{spec.kind}.{spec.module}",
            inputs=[os.path.relpath(path) for path in sources],
            outputs=[str(path) for path in spec.outputs(self._results)],
            values=spec.values(self._budget),
        )

    def _version(self) -> Target:
        """DVC's pointers to the artifacts of all runs, and the list of them.

        A pointer is an input, so that a deleted or edited one is noticed. It belongs to its run
        and is no output of this target, which may be made anew at will.
        """
        records = [run.record for run in self._runs]
        pointers = [pointer for run in self._runs for pointer in run.pointers]
        listing = self._results / published.NAME
        listings = [listing] if listing.is_file() else []
        return self._target(
            "version",
            "version",
            "dvc.add",
            inputs=sorted(str(path) for path in records + pointers + listings),
            outputs=[str(self._results / "versioned.json")],
        )

    def _describe(self, specs: list[DrawnSpec]) -> Target:
        """The metrics, plots and artifacts that DVC shows."""
        plots = [path for path in self._outputs(specs) if path.endswith(".svg")]
        return self._target(
            "describe",
            "describe",
            "dvc.results_file",
            inputs=[str(self._results / "versioned.json"), *plots],
            outputs=[str(self._results / "dvc.yaml")],
        )

    def _report(self, specs: list[DrawnSpec]) -> Target:
        """The page. Of an experiment that is not selected, it shows what exists."""
        data = self._results / "tables" / "data"
        runs, computes = (
            [str(data / f"{name}.{kind}.csv") for name in self._matrices]
            for kind in ("runs", "compute")
        )
        template = os.path.relpath(fingerprints.ROOT / REPORT_TEMPLATE)
        others = [str(path) for path in catalog.beside(self._budget, self._results)]
        return self._target(
            "report",
            "report",
            "report.page",
            inputs=[*self._outputs(specs), *runs, *computes, *others, template],
            outputs=[str(self._results / "report" / "index.html")],
            values=[
                self._experiments,
                [[spec.name, spec.title, spec.caption] for spec in specs],
                self._budget.model_dump(mode="json", include={"disclaimer"}),
            ],
        )

    def _manifest(self, inputs: list[str]) -> Target:
        """The last target: digests of all the others' files, from their provenance records."""
        output = str(self._results / "manifest.json")
        return self._target("manifest", "manifest", "dag.manifest", inputs=inputs, outputs=[output])

    def _target(
        self,
        kind: str,
        name: str,
        *modules: str,
        inputs: list[str],
        outputs: list[str],
        values: object = None,
    ) -> Target:
        stamp = stamp_path(self._results, kind, name)
        stamped = stamp.exists()  # asked before the record is read; see `Target.update_stamp`
        record = provenance.record_path(self._results, kind, name)
        code = code_digest(*(f"workflow.{module}" for module in modules))
        fingerprint = Fingerprint(
            str(record), value_digest(values), code, tuple(inputs), tuple(outputs)
        )
        recorded = provenance.agreeing(fingerprint, self._digests)
        up_to_date = recorded is not None and provenance.intact(recorded)
        needs = self._needs(inputs, up_to_date)
        # What was damaged, edited or deleted will be made again as it was: nothing else is stale.
        self._digests |= recorded or dict.fromkeys(outputs, STALE)
        self._needed_for |= dict.fromkeys(outputs, stamp)
        self._up_to_date |= {stamp} if up_to_date else set()
        return Target(kind, name, self._results, fingerprint, up_to_date, stamped, needs)

    def _needs(self, inputs: list[str], up_to_date: bool) -> tuple[Path, ...]:
        """Of what other jobs make, what a job needs; in the order of its inputs.

        A target that is up to date does not need files that were damaged or deleted since: they
        will be made again as they were, and Snakemake would make the target again after them.
        """
        needs = dict.fromkeys(self._needed_for[path] for path in inputs if path in self._needed_for)
        return tuple(path for path in needs if not up_to_date or path in self._up_to_date)


def _score_files(matrix: Matrix) -> list[str]:
    """Names of an experiment's final scores: one for each benchmark, cell and evaluation set."""
    names = {
        final_scores.file_name(matrix.name, member.config.benchmark, member.cell, split)
        for member in matrix.members
        for split in member.config.env.eval_sets
    }
    return sorted(names)
