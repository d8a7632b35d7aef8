"""Everything that a budget makes: runs, tidy tables, figures, tables, versions, report, manifest.

Read by the Snakefile, which makes it; by `workflow.execute.reproduce`, which watches it being made;
and by `workflow.estimate.plan`, which says what is left. Imports nothing heavy, for it is read at
every start.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from amago2.config.schema import RunConfig
from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.analysis import claims, hyperparameters
from workflow.analysis import final_scores as metrics
from workflow.analysis.tidy import COLUMNS, Row
from workflow.config import catalog
from workflow.config.catalog import FigureSpec, Spec, TableSpec
from workflow.config.experiments import Matrix, Selection, matrices
from workflow.config.parameters import Parameters, unknown
from workflow.container.image import Image, forget_if_gone
from workflow.dag import fingerprints as receipts
from workflow.dag.fingerprints import Recipe, code_digest, read, value_digest
from workflow.dvc.add import BULK

Drawn = FigureSpec | TableSpec
STALE = "to be made anew"
REPORT_TEMPLATE = "workflow/report/page.html"
COMPUTED = {
    "hyperparameters": "analysis.hyperparameters",
    "relative_loss": "analysis.relative_loss",
    "claims": "analysis.claims",
}
"""Modules that make tidy tables without any run, by the table's name."""
LONG_AGO = 86400.0
"""File time of the gate of what is current: older than anything made."""


@dataclass(frozen=True)
class Run:
    """One training run, and where it lies below `results/<budget>`."""

    config: RunConfig
    results: Path
    selected: bool

    @property
    def name(self) -> str:
        """Of the benchmark, the variant, the seed, and the hash of all the rest."""
        return self.config.run_name

    @property
    def folder(self) -> Path:
        """Where the finished run is published."""
        return self.results / "runs" / self.name

    @property
    def record(self) -> Path:
        """Published last: a run is finished if it has one."""
        return self.folder / "record.json"

    @property
    def scratch(self) -> Path:
        """Where the unfinished run lives."""
        return self.results / ".scratch" / self.config.hash

    @property
    def settings(self) -> Path:
        """The complete configuration, for the trainer."""
        return self.results / ".scratch" / "configs" / f"{self.config.hash}.yaml"

    @property
    def log(self) -> Path:
        """What its job printed."""
        return self.results / ".logs" / "runs" / f"{self.name}.log"

    @property
    def pointers(self) -> list[Path]:
        """What DVC is to know its bulk by."""
        replay = self.config.checkpoint.with_replay
        return [self.folder / f"{bulk}.dvc" for bulk in BULK if replay or bulk != "replay"]

    @cached_property
    def finished(self) -> bool:
        """Was it finished when this was planned?"""
        return self.record.is_file()


@dataclass(frozen=True)
class Target:
    """What one job makes from runs, or from what other jobs have made."""

    kind: str
    name: str
    results: Path
    recipe: Recipe
    current: bool
    """Does its receipt agree with its recipe?"""
    waits: tuple[str, ...]
    """Files it is made from that other jobs make anew."""
    uses: tuple[str, ...]
    """Files it is made from that are up to date; if one was deleted, it is made again first."""

    @property
    def outputs(self) -> list[str]:
        """The files made."""
        return [*self.recipe.outputs, self.recipe.receipt]

    def names_in(self, folder: str) -> list[str]:
        """Names of its outputs that lie in that folder of the results."""
        outputs = map(Path, self.recipe.outputs)
        return [path.name for path in outputs if path.parent == self.results / folder]

    @property
    def gate(self) -> Path:
        """The recipe as a file; its time alone tells Snakemake whether to follow it."""
        return self.results / ".scratch" / "recipes" / self.kind / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What its job printed."""
        return self.results / ".logs" / self.kind / f"{self.name}.log"

    @property
    def done(self) -> bool:
        """Nothing to do: current when planned, and all there."""
        return self.current and _there(self.outputs)

    def write_gate(self) -> None:
        """Old if the target is current, else newer than all that it made before.

        The time within tells one stale gate from the last: Snakemake ignores a newer file whose
        content it has seen.
        """
        write_atomically(self.gate, self.recipe.to_json(planned=time.time_ns()))
        when = LONG_AGO
        if not self.current:
            made = [Path(path).stat().st_mtime for path in self.outputs if Path(path).exists()]
            when = max([time.time(), *(moment + 1 for moment in made)])
        os.utime(self.gate, (when, when))


@dataclass(frozen=True)
class Dag:
    """All of it, in the order in which it can be made."""

    selection: Selection
    results: Path
    matrices: list[Matrix]
    runs: dict[str, Run]
    """By name."""
    targets: list[Target]

    def of(self, kind: str) -> list[Target]:
        """Targets of one kind: data, computed, figures, tables, version, report or manifest."""
        return [target for target in self.targets if target.kind == kind]

    @property
    def left_out(self) -> list[str]:
        """What was asked for but lacks what its user must bring."""
        return [sentence for matrix in self.matrices for sentence in matrix.left_out]

    @cached_property
    def image(self) -> Image | None:
        """What runs are trained in; None on the host."""
        runtime = self.selection.runtime
        return None if runtime == "host" else Image.wanted(runtime)

    @property
    def pending(self) -> list[Run]:
        """Runs to train."""
        return [run for run in self.runs.values() if run.selected and not run.finished]

    def listing(self, experiment: str) -> Path:
        """The experiment's runs, for its job: kept beside the tables that are made from it."""
        return self.results / ".scratch" / "experiments" / f"{experiment}.json"

    def write(self) -> None:
        """What Snakemake and its jobs read: lists of runs, configurations, gates.

        All of it below `.scratch`: planning changes nothing that git keeps.
        """
        for matrix in self.matrices:
            write_atomically(self.listing(matrix.name), matrix.to_json())
        for run in self.pending:
            if not run.settings.is_file():
                write_atomically(run.settings, run.config.to_yaml())
        for target in self.targets:
            target.write_gate()
        if self.image and self.pending:
            forget_if_gone(self.image)


def plan(
    selection: Selection, params: Path = Path("params"), results: Path = Path("results")
) -> Dag:
    """Resolve and validate all that the selection asks for. Raises `ConfigError`."""
    parameters = Parameters(params)
    folder = results / selection.budget
    every = [matrix for matrix in matrices(parameters, selection) if matrix.members]
    runs = _runs(every, folder)
    targets = list(_Targets(every, runs, folder, parameters).all())
    return Dag(selection, folder, every, runs, targets)


def _runs(every: Iterable[Matrix], folder: Path) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for member in (member for matrix in every for member in matrix.members):
        name = member.config.run_name
        before = name in found and found[name].selected
        found[name] = Run(member.config, folder, before or member.selected)
    return found


class _Targets:
    """Makes the list of targets. `known` holds the digests of what targets have made or will."""

    def __init__(
        self, every: list[Matrix], runs: Mapping[str, Run], folder: Path, parameters: Parameters
    ) -> None:
        self.matrices = {matrix.name: matrix for matrix in every}
        self.chosen = {matrix.name for matrix in every if matrix.selected}
        self.runs, self.folder = runs, folder
        self.parameters, self.params = parameters, parameters.folder
        self.experiments = parameters.names("experiments")
        self.kept = [run for run in runs.values() if run.selected or run.finished]
        self.known = {str(run.record): STALE for run in self.kept if not run.finished}

    def all(self) -> Iterator[Target]:
        drawn = self._drawable()
        made: dict[str, None] = {}
        for target in self._all_but_manifest(drawn):
            made |= dict.fromkeys(target.recipe.outputs)
            yield target
        made |= dict.fromkeys(str(path) for spec in drawn for path in spec.outputs(self.folder))
        yield self._manifest(list(made))

    def _all_but_manifest(self, drawn: list[Drawn]) -> Iterator[Target]:
        made = [spec for spec in drawn if spec.drawable(sorted(self.chosen))]
        for name in sorted(self.chosen):
            yield self._tidy(self.matrices[name])
        for name in sorted({name for spec in made for name in spec.data}):
            yield self._computed(name)
        for spec in made:
            yield self._drawn(spec)
        if self.kept:
            yield self._version()
            yield self._described(drawn)
        yield self._report(drawn)

    def _drawable(self) -> list[Drawn]:
        """Figures and tables that need no run, or show an experiment that this budget runs."""
        figures, tables = catalog.figures(self.params), catalog.tables(self.params)
        specs: list[Drawn] = [*figures.values(), *tables.values()]
        for spec in specs:
            self._check_experiments(spec)
        return [spec for spec in specs if spec.drawable(list(self.matrices))]

    def _check_experiments(self, spec: Spec) -> None:
        for name in spec.experiments if isinstance(spec.experiments, tuple) else ():
            if name not in self.experiments:
                source = str(self.params / spec.kind / f"{spec.name}.yaml")
                message = unknown(f"experiment {name}", name, self.experiments, source)
                raise ConfigError(message)

    def _tidy(self, matrix: Matrix) -> Target:
        """Tidy tables of an experiment: of the runs that it has, and of those it will have."""
        members = {member.config.run_name for member in matrix.members}
        records = sorted(str(run.record) for run in self.kept if run.name in members)
        data = self.folder / "tables" / "data"
        return self._target(
            "data",
            matrix.name,
            "analysis.tidy",
            "analysis.final_scores",
            inputs=records,
            outputs=[
                str(self.folder / "experiments" / f"{matrix.name}.json"),
                *(str(data / f"{matrix.name}.{kind}.csv") for kind in COLUMNS),
                *(str(self.folder / "metrics" / name) for name in _scores(matrix)),
            ],
            values=matrix.to_json(),
        )

    def _computed(self, name: str) -> Target:
        """A tidy table that needs no run."""
        output = str(self.folder / "tables" / "data" / f"{name}.csv")
        reads = {"hyperparameters": self._hyperparameters, "claims": self._claims}
        values = reads[name]() if name in reads else None
        return self._target(
            "computed", name, COMPUTED[name], inputs=[], outputs=[output], values=values
        )

    def _hyperparameters(self) -> list[Row]:
        return list(hyperparameters.rows(self.parameters))

    def _claims(self) -> list[Row]:
        return list(claims.rows(self.params))

    def _drawn(self, spec: Drawn) -> Target:
        """A figure or table. Of an experiment that is not asked for, it shows what there is."""
        inputs = [os.path.relpath(path) for path in spec.inputs(self.folder, list(self.matrices))]
        return self._target(
            spec.kind,
            spec.name,
            "render.draw",
            f"{spec.kind}.{spec.module}",
            inputs=inputs,
            outputs=[str(path) for path in spec.outputs(self.folder)],
            values=spec.model_dump(mode="json", exclude_defaults=True),
        )

    def _version(self) -> Target:
        """DVC's pointers to all bulk. They are no outputs, which Snakemake would delete at will."""
        records = [run.record for run in self.kept]
        pointers = [pointer for run in self.kept for pointer in run.pointers]
        return self._target(
            "version",
            "version",
            "dvc.add",
            inputs=sorted(str(path) for path in records + pointers),
            outputs=[str(self.folder / "versioned.json")],
        )

    def _described(self, specs: list[Drawn]) -> Target:
        """What DVC is told of metrics, plots and artifacts."""
        plots = [str(path) for spec in specs for path in spec.outputs(self.folder)]
        return self._target(
            "describe",
            "describe",
            "dvc.results_file",
            inputs=[
                str(self.folder / "versioned.json"),
                *(path for path in plots if path.endswith(".svg")),
            ],
            outputs=[str(self.folder / "dvc.yaml")],
        )

    def _report(self, specs: list[Drawn]) -> Target:
        """The page. What it shows of an experiment that is not asked for is what there is."""
        shown = [str(path) for spec in specs for path in spec.outputs(self.folder)]
        data = self.folder / "tables" / "data"
        runs = [str(data / f"{name}.runs.csv") for name in self.matrices]
        return self._target(
            "report",
            "report",
            "report.page",
            inputs=[*shown, *runs, os.path.relpath(receipts.ROOT / REPORT_TEMPLATE)],
            outputs=[str(self.folder / "report" / "index.html")],
            values=[self.experiments, [[spec.name, spec.title, spec.caption] for spec in specs]],
        )

    def _manifest(self, made: list[str]) -> Target:
        """The last of all: digests of everything that was made, from its receipts."""
        output = str(self.folder / "manifest.json")
        return self._target("manifest", "manifest", "dag.manifest", inputs=made, outputs=[output])

    def _target(
        self,
        kind: str,
        name: str,
        *modules: str,
        inputs: list[str],
        outputs: list[str],
        values: object = None,
    ) -> Target:
        code = code_digest(*(f"workflow.{module}" for module in modules))
        receipt = self.folder / "receipts" / kind / f"{name}.json"
        recipe = Recipe(str(receipt), value_digest(values), code, tuple(inputs), tuple(outputs))
        current = recipe.is_current(self.known)
        done = current and _there(outputs)
        waits = [path for path in inputs if self.known.get(path) == STALE]
        made = [path for path in inputs if path in self.known and path not in waits]
        uses = [path for path in made if not done or Path(path).is_file()]
        digests = read(receipt).get("outputs", {}) if current else {}
        self.known |= {path: digests.get(path, STALE) for path in outputs}
        return Target(kind, name, self.folder, recipe, current, tuple(waits), tuple(uses))


def _scores(matrix: Matrix) -> list[str]:
    """Files of its final scores, one for each benchmark, cell and evaluation set."""
    found = {
        metrics.file_name(matrix.name, member.config.benchmark, member.cell, split)
        for member in matrix.members
        for split in member.config.env.eval_sets
    }
    return sorted(found)


def _there(paths: Iterable[str]) -> bool:
    return all(Path(path).is_file() for path in paths)
