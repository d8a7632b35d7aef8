"""Which figures and tables there are, and which files each is made from.

Read from `params/figures/*.yaml` and `params/tables/*.yaml`. Imports nothing heavy: the DAG asks it
for every figure's inputs each time it plans.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, StringConstraints

from amago2.config.documents import read_yaml
from amago2.config.layers import Layer, Section
from amago2.config.validation import validate
from amago2.errors import ConfigError
from workflow.benchmarks.lookup import benchmarks, main_experiments, scale_files
from workflow.config.budgets import Budget, Disclaimer
from workflow.config.files import parameter_files

REFERENCE = Path(__file__).parents[1] / "reference"
"""The published numbers; `SOURCES.yaml` there says where each comes from."""

RULES = (
    "all", "describe", "figures", "image", "manifest", "report", "runs", "tables", "train",
    "version",
)  # fmt: skip
"""Of the Snakefile, where each figure and table is a rule of its name."""

FLAGSHIP = "ext_return_scale"
"""The figure that stands for the whole: README and report begin with it."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Kind = Literal["evaluations", "metrics", "probe", "compute"]


class Spec(Section):
    """What a figure and a table have in common: the content of their parameter file."""

    kind: ClassVar[str]
    """Of the parameter files, the modules and the results."""
    name: Name
    """Of the file; never written in it."""
    title: str = Field(min_length=1)
    caption: str = Field(min_length=1)
    """What is shown. Budget, seeds, bars and missing runs are added where it is drawn."""
    module: Name
    """Python module that makes it; by default the one with its name."""
    experiments: tuple[Name, ...] | Literal["all", "main"] = ()
    """By name; all of them, or those with the main results of the benchmarks."""
    reads: tuple[Kind, ...] = ()
    """Which tidy tables of each experiment."""
    normalised: bool = False
    """Whether it shows scores in percent of the benchmarks' scales, and so reads what these are
    made of."""
    data: tuple[Name, ...] = ()
    """Tidy tables that no experiment makes, such as `relative_loss`."""
    reference: dict[Name, str] = {}
    """Files of published numbers, by the name under which the module asks for them."""
    options: dict[str, Any] = {}
    """The module's own parameters, validated by its `Options`."""

    def of(self, known: Sequence[str]) -> tuple[str, ...]:
        """Names of its experiments, those of them that are `known`."""
        if self.experiments == "all":
            return tuple(known)
        return tuple(name for name in self.named if name in known)

    @property
    def named(self) -> tuple[str, ...]:
        """Names of the experiments that it asks for, whether or not there are such."""
        if isinstance(self.experiments, tuple):
            return self.experiments
        return tuple(main_experiments()) if self.experiments == "main" else ()

    def disclaimer(self, budget: Budget) -> Disclaimer | None:
        """What must be said of it under a budget that is too small to give results, if anything."""
        if budget.disclaimer is None or not self.experiments:
            return None
        exempt = bool(self.named) and set(self.named) <= set(budget.disclaimer.exempt)
        return None if exempt else budget.disclaimer

    def values(self, budget: Budget) -> dict[str, Any]:
        """All that it shows beside its inputs, for its fingerprint: a change makes it anew."""
        found: dict[str, Any] = {"spec": self.model_dump(mode="json", exclude_defaults=True)}
        if self.experiments:
            disclaimer = budget.disclaimer
            found["disclaimer"] = disclaimer.model_dump(mode="json") if disclaimer else None
            found["benchmarks"] = {name: asdict(own) for name, own in benchmarks().items()}
        return found

    def drawable(self, known: Sequence[str]) -> bool:
        """Whether it needs no experiment, or at least one of its own is `known`."""
        return not self.experiments or bool(self.of(known))

    def sources(self, folder: Path, known: Sequence[str]) -> dict[str, Path]:
        """Every file read, by table name; `folder` has a budget's results."""
        tidy = folder / "tables" / "data"
        kinds = ("runs", *self.reads)
        tables = [f"{name}.{kind}" for name in self.of(known) for kind in kinds] + list(self.data)
        files = self.reference | (scale_files() if self.normalised else {})
        published = {f"reference.{key}": REFERENCE / file for key, file in files.items()}
        return {table: tidy / f"{table}.csv" for table in tables} | published

    def inputs(self, folder: Path, known: Sequence[str]) -> list[Path]:
        """The files read, for the DAG."""
        return list(self.sources(folder, known).values())


class FigureSpec(Spec):
    """A figure's parameter file."""

    kind: ClassVar[str] = "figures"
    show_reference: bool = True
    """Draw the published values in grey where there are any."""

    def outputs(self, folder: Path) -> list[Path]:
        """The files written."""
        return [folder / "figures" / f"{self.name}.{ending}" for ending in ("pdf", "svg", "png")]


class TableSpec(Spec):
    """A table's parameter file."""

    kind: ClassVar[str] = "tables"

    def outputs(self, folder: Path) -> list[Path]:
        """The files written."""
        return [folder / "tables" / f"{self.name}.{ending}" for ending in ("csv", "md", "tex")]


def experiments(params: Path) -> list[str]:
    """Names of all experiments that are described."""
    return [path.stem for path in parameter_files(params / "experiments")]


S = TypeVar("S", bound=Spec)


def figures(params: Path) -> dict[str, FigureSpec]:
    """All figures by name, in order of their names; `params` is the project's parameter folder."""
    return {path.stem: _read(FigureSpec, path) for path in parameter_files(params / "figures")}


def tables(params: Path) -> dict[str, TableSpec]:
    """All tables by name, in order of their names."""
    return {path.stem: _read(TableSpec, path) for path in parameter_files(params / "tables")}


def figure(params: Path, name: str) -> FigureSpec:
    """One figure; `ConfigError` if its file is missing or wrong."""
    return _read(FigureSpec, _existing(params / "figures", name))


def table(params: Path, name: str) -> TableSpec:
    """One table; `ConfigError` if its file is missing or wrong."""
    return _read(TableSpec, _existing(params / "tables", name))


def _existing(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(file.stem for file in parameter_files(folder)) or "none"
        raise ConfigError(f"{path}: no such file; {folder} has {known}")
    return path


def _read(kind: type[S], path: Path) -> S:
    given = read_yaml(path)
    if "name" in given:
        raise ConfigError(f"{path}: unknown key name; the file's own name is used")
    if path.stem in RULES or path.stem.startswith(("data_", "table_")):
        raise ConfigError(f"{path}: {path.stem} is a rule of the Snakefile; choose another name")
    data: Mapping[str, Any] = {"name": path.stem, "module": path.stem, **given}
    spec = validate(kind, data, [Layer(str(path), data)])
    for file in spec.reference.values():
        if not (REFERENCE / file).is_file() or Path(file).name != file:
            raise ConfigError(f"{path}: reference {file} is no file of {REFERENCE.name}/")
    return spec


def beside(budget: Budget, results: Path) -> list[Path]:
    """Files of a larger budget that the report of `results/<budget>` shows beside its own."""
    other = budget.disclaimer.beside if budget.disclaimer else None
    return [results.parent / other / "figures" / f"{FLAGSHIP}.png"] if other else []
