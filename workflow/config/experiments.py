"""Which runs each experiment needs, under a budget and what the command line selects of it.

An experiment is a list of grids: benchmark x variants x seeds, with the settings of a cell. Every
run is named by the hash of its complete configuration, so experiments share runs that are equal.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from amago2.config.documents import printable
from amago2.config.fields import Name
from amago2.config.layers import Layer, Section, merge, override
from amago2.config.plain import canonical
from amago2.config.schema import RunConfig
from amago2.config.validation import validate
from amago2.errors import ConfigError
from workflow.config.budgets import DEFAULT
from workflow.config.parameters import Parameters, unknown
from workflow.config.requirements import lacking

RUNTIMES = ("host", "docker", "podman", "apptainer")
MOST_SEEDS = 1000


class Grid(Section):
    """Runs of one benchmark: variants x seeds, all with the settings of one cell.

    In a file, `benchmark` may list several: a grid of each.
    """

    benchmark: Name
    variants: tuple[Name, ...] = Field(min_length=1)
    cell: Name = "default"
    set: dict[str, Any] = {}
    """Partial configuration, laid over benchmark, variant and budget."""
    multiply: dict[str, Annotated[float, Field(gt=0, le=1e6)]] = {}
    """Whole numbers by dotted key, as multiples of what they are without this cell; rounded."""


class BudgetScope(Section):
    """The part of an experiment that a budget runs; None stands for everything."""

    seeds: Annotated[int, Field(gt=0, le=MOST_SEEDS)]
    benchmarks: tuple[Name, ...] | None = None
    cells: tuple[Name, ...] | None = None
    variants: tuple[Name, ...] | None = None
    set: dict[Name, dict[str, Any]] = {}
    """Partial configuration by benchmark, laid over the budget's and under the cell's."""

    def covers(self, grid: Grid, variant: str) -> bool:
        """Whether the budget runs this variant of a grid."""
        choices = (self.benchmarks, self.cells, self.variants)
        names = (grid.benchmark, grid.cell, variant)
        pairs = zip(choices, names, strict=True)
        return all(choice is None or name in choice for choice, name in pairs)


def _one_each(grids: Any) -> Any:
    """A grid that lists several benchmarks as a grid of each."""
    found: list[Any] = []
    for grid in grids if isinstance(grids, list) else []:
        names = grid.get("benchmark") if isinstance(grid, Mapping) else None
        each = [{**grid, "benchmark": name} for name in names] if isinstance(names, list) else []
        found += each or [grid]
    return found or grids


class Experiment(Section):
    """The content of `params/experiments/<name>.yaml`."""

    title: str = Field(min_length=1)
    runs: Annotated[tuple[Grid, ...], BeforeValidator(_one_each)] = Field(min_length=1)
    budgets: dict[Name, BudgetScope]


@dataclass(frozen=True)
class Selection:
    """What the command line asks for: a budget, or some experiments, benchmarks, seeds of it."""

    budget: str = DEFAULT
    experiments: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    seeds: int | None = None
    runtime: str = "host"
    """Where runs are trained: on the host, or in a container of docker, podman or apptainer."""

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> "Selection":
        """From `budget=mini experiment=a,b benchmark=c seeds=2`; an empty value is no choice."""
        known = ["budget", "experiment", "benchmark", "seeds", "runtime"]
        for key in options:
            if key not in known:
                raise ConfigError(unknown(f"option {key}", str(key), known))
        given = {key: _text(options.get(key)) for key in known}
        seeds = given["seeds"]
        if seeds and not (re.fullmatch("[0-9]{1,4}", seeds) and 1 <= int(seeds) <= MOST_SEEDS):
            raise ConfigError(
                f"seeds={printable(seeds)}: must be a whole number of at least 1, "
                f"at most {MOST_SEEDS}"
            )
        runtime = given["runtime"] or "host"
        if runtime not in RUNTIMES:
            raise ConfigError(unknown(f"runtime {runtime}", runtime, RUNTIMES))
        return cls(
            budget=given["budget"] or DEFAULT,
            experiments=_names("experiment", given["experiment"]),
            benchmarks=_names("benchmark", given["benchmark"]),
            seeds=int(seeds) if seeds else None,
            runtime=runtime,
        )

    def options(self) -> dict[str, str]:
        """What `parse` reads."""
        given = {
            "budget": self.budget,
            "experiment": ",".join(self.experiments),
            "benchmark": ",".join(self.benchmarks),
            "seeds": str(self.seeds or ""),
            "runtime": self.runtime if self.runtime != "host" else "",
        }
        return {key: value for key, value in given.items() if value}


def _text(option: Any) -> str:
    """As it was typed: Snakemake reads numbers and lists from its command line."""
    if isinstance(option, list | tuple):
        return ",".join(map(str, option))
    return "" if option is None else str(option).strip()


def _names(key: str, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if text and not all(names):
        raise ConfigError(f"{key}={text}: must be names with commas between them")
    return names if text else ()


@dataclass(frozen=True)
class Member:
    """A run's place in an experiment."""

    cell: str
    config: RunConfig
    selected: bool
    """Trained if it is missing; else the run belongs to the experiment but is not asked for."""

    @property
    def entry(self) -> dict[str, Any]:
        """The run as the experiment's file lists it."""
        config = self.config
        return {
            "benchmark": config.benchmark,
            "variant": config.variant,
            "cell": self.cell,
            "seed": config.seed,
            "hash": config.hash,
            "path": f"runs/{config.run_name}",
        }


@dataclass(frozen=True)
class Matrix:
    """An experiment under a budget: all its runs."""

    name: str
    title: str
    budget: str
    members: tuple[Member, ...]
    """None if the budget does not run the experiment."""
    left_out: tuple[str, ...] = ()
    """Sentences on benchmarks that were asked for but lack what their user must bring."""

    @property
    def selected(self) -> bool:
        """Is any of its runs asked for?"""
        return any(member.selected for member in self.members)

    def to_json(self) -> str:
        """The list of its runs, as tables are made from it."""
        runs = [member.entry for member in self.members]
        runs.sort(key=lambda run: [run[key] for key in ("benchmark", "variant", "cell", "seed")])
        content = {
            "experiment": self.name,
            "title": self.title,
            "budget": self.budget,
            "runs": runs,
        }
        return json.dumps(content, indent=1) + "\n"


def matrices(parameters: Parameters, selection: Selection) -> list[Matrix]:
    """Every experiment under the selection's budget.

    All are read and resolved, so that a mistake in any is told before anything runs.
    """
    parameters.choose("budgets", selection.budget)
    for kind, names in (
        ("experiments", selection.experiments),
        ("benchmarks", selection.benchmarks),
    ):
        for name in names:
            parameters.choose(kind, name)
    found = [_matrix(parameters, name, selection) for name in parameters.names("experiments")]
    _check_hashes(member.config for matrix in found for member in matrix.members)
    if (selection.experiments or selection.benchmarks) and not any(m.selected for m in found):
        asked = ", ".join(f"{key}={value}" for key, value in selection.options().items())
        lacks = "; ".join(sentence for matrix in found for sentence in matrix.left_out)
        raise ConfigError(f"{asked}: {lacks or 'no experiment has such runs in this budget'}")
    return found


def reproduce_command(budget: str, experiments: Sequence[str], parameters: Parameters) -> str:
    """What makes all runs of some experiments at a budget; it names them unless they are all."""
    every = {each.name for each in matrices(parameters, Selection(budget)) if each.members}
    partly = experiments and every - set(experiments)
    some = f" EXPERIMENT={','.join(experiments)}" if partly else ""
    return f"make reproduce BUDGET={budget}{some}"


def _check_hashes(configs: Iterable[RunConfig]) -> None:
    """A hash has 32 bits: of many runs, two may share one."""
    known: dict[str, str] = {}
    for config in configs:
        content = canonical(config.hashed)
        if known.setdefault(config.run_name, content) != content:
            raise ConfigError(
                f"{config.run_name}: two configurations have this name by chance; change one of "
                "them, such as its collector.steps_per_epoch"
            )


def _matrix(parameters: Parameters, name: str, selection: Selection) -> Matrix:
    layer = parameters.layer("experiments", name)
    experiment = validate(Experiment, layer.data, [layer])
    _check(experiment, layer.source, parameters)
    scope = experiment.budgets.get(selection.budget)
    members = tuple(_members(parameters, name, experiment, scope, selection)) if scope else ()
    used = {member.config.benchmark for member in members}
    lacks = {
        grid.benchmark: lacking(grid.benchmark)
        for grid in experiment.runs
        if grid.benchmark in used and _asked(name, grid, selection)
    }
    left_out = tuple(f"{benchmark} is left out: {why}" for benchmark, why in lacks.items() if why)
    return Matrix(name, experiment.title, selection.budget, members, left_out)


def _asked(name: str, grid: Grid, selection: Selection) -> bool:
    """Does the command line ask for a grid of the experiment `name`?"""
    asked = not selection.experiments or name in selection.experiments
    return asked and (not selection.benchmarks or grid.benchmark in selection.benchmarks)


def _members(
    parameters: Parameters,
    name: str,
    experiment: Experiment,
    scope: BudgetScope,
    selection: Selection,
) -> Iterator[Member]:
    seeds = selection.seeds or scope.seeds
    source = str(parameters.folder / "experiments" / f"{name}.yaml")
    for grid in experiment.runs:
        lacks = lacking(grid.benchmark)
        selected = _asked(name, grid, selection) and not lacks
        for variant in grid.variants:
            if not scope.covers(grid, variant):
                continue
            over = _layers(parameters, source, grid, variant, scope, selection.budget)
            for seed in range(max(seeds, scope.seeds)):
                config = parameters.resolve(
                    grid.benchmark, variant, selection.budget, seed, over, asked_by=source
                )
                yield Member(grid.cell, config, selected and seed < seeds)


def _layers(
    parameters: Parameters, source: str, grid: Grid, variant: str, scope: BudgetScope, budget: str
) -> list[Layer]:
    """What an experiment lays over benchmark, variant and budget for the runs of a cell."""
    where = f"{source}, budgets.{budget}.set.{grid.benchmark}"
    layers = [Layer(where, scope.set.get(grid.benchmark, {}))]
    own = Layer(f"{source}, cell {grid.cell}", grid.set)
    if not grid.multiply:
        return [*layers, own]
    base = parameters.resolve(grid.benchmark, variant, budget, over=layers, asked_by=source)
    data: dict[str, Any] = {}
    for key, factor in grid.multiply.items():
        number: Any = base.model_dump()
        for part in key.split("."):
            number = number.get(part) if isinstance(number, Mapping) else None
        if type(number) is not int:
            raise ConfigError(
                f"{own.source}: multiply: {key} is no whole number of {grid.benchmark}"
            )
        data = merge(data, override(key, max(1, round(factor * number))))
    return [*layers, own, Layer(f"{own.source}, multiply", data)]


def _check(experiment: Experiment, source: str, parameters: Parameters) -> None:
    """Names that no schema can check: budgets and cells exist, no run is listed twice."""
    cells = sorted({grid.cell for grid in experiment.runs})
    benchmarks = sorted({grid.benchmark for grid in experiment.runs})
    variants = sorted({variant for grid in experiment.runs for variant in grid.variants})
    for budget, scope in experiment.budgets.items():
        parameters.choose("budgets", budget, asked_by=source)
        for key, names, known in (
            ("benchmark", (*(scope.benchmarks or ()), *scope.set), benchmarks),
            ("cell", scope.cells, cells),
            ("variant", scope.variants, variants),
        ):
            for name in names or ():
                if name not in known:
                    where = f"{source}, budgets.{budget}"
                    raise ConfigError(unknown(f"{key} {name}", name, known, where))
    listed = Counter(
        (grid.benchmark, variant, grid.cell)
        for grid in experiment.runs
        for variant in grid.variants
    )
    for (benchmark, variant, cell), times in listed.items():
        if times > 1:
            raise ConfigError(
                f"{source}: {benchmark} x {variant} is listed {times} times in cell {cell}; "
                "give the grids different cells"
            )
