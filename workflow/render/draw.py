"""Make one figure or one table from tidy tables and its parameter file."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from amago2.config.layers import Layer, Section
from amago2.config.validation import validate
from amago2.errors import ConfigError
from workflow.config import catalog
from workflow.config.budgets import Budget
from workflow.config.catalog import FigureSpec, Spec, TableSpec
from workflow.config.parameters import Parameters

if TYPE_CHECKING:
    import pandas as pd


class Badge(NamedTuple):
    """What stands on a figure beside its title: the budget, and what to think of it."""

    text: str
    warning: bool = False


NO_BADGE = Badge("")


@dataclass(frozen=True)
class Params:
    """What a module gets beside its tables: the budget, its parameter file, its own options."""

    budget: str
    spec: Any
    options: Any
    badge: Badge = NO_BADGE


def render(kind: str, name: str, budget: str, results: Path, params: Path) -> list[Path]:
    """Read, compute, save; returns the files written."""
    known, folder, parameters = catalog.experiments(params), results / budget, Parameters(params)
    if kind == "figure":
        figure = catalog.figure(params, name)
        return _figure(figure, budget, parameters.budget(budget), folder, known)
    table = catalog.table(params, name)
    return _table(table, budget, parameters.budget(budget), folder, known)


def check(params: Path) -> None:
    """Validate every figure's and table's parameter file, options included."""
    for spec in (*catalog.figures(params).values(), *catalog.tables(params).values()):
        _module(spec, "")


def _figure(
    spec: FigureSpec, name: str, budget: Budget, folder: Path, known: Sequence[str]
) -> list[Path]:
    from workflow.analysis import frames
    from workflow.render import style  # heavy: only once the parameter file is known to be right

    module, given = _module(spec, name)
    tables = {key: _literal(t) for key, t in frames.load(spec, folder, known).items()}
    figure = module.render(tables, replace(given, badge=badge(spec, name, budget, tables)))
    return style.save(figure, folder / "figures" / spec.name)


def _literal(table: "pd.DataFrame") -> "pd.DataFrame":
    """With names of tasks, which environments choose, in which no `$` begins a formula."""
    from pandas.api.types import is_numeric_dtype  # heavy

    if "task" not in table or is_numeric_dtype(table.task):
        return table
    return table.assign(task=table.task.str.replace("$", r"\$", regex=False))


def badge(
    spec: FigureSpec, name: str, budget: Budget, tables: Mapping[str, "pd.DataFrame"]
) -> Badge:
    """The badge of a figure under the budget `name`.

    Of a budget that gives no results it says so, or the number of seeds if the figure's experiments
    are trained enough even so.
    """
    if budget.disclaimer is None or not spec.experiments:
        return Badge(f"{name} budget")
    seeds = _finished_seeds(tables)
    if spec.disclaimer(budget) or not seeds:
        return Badge(f"{name} budget: {budget.disclaimer.badge}", warning=True)
    return Badge(f"{name} budget: {seeds} seed{'' if seeds == 1 else 's'}")


def _finished_seeds(tables: Mapping[str, "pd.DataFrame"]) -> int:
    """Number of different seeds among the finished runs."""
    runs = [table for name, table in tables.items() if name.endswith(".runs")]
    return len({seed for table in runs for seed in table.seed[table.state == "finished"]})


def _table(
    spec: TableSpec, name: str, budget: Budget, folder: Path, known: Sequence[str]
) -> list[Path]:
    from workflow.analysis import frames
    from workflow.render import table_files

    module, given = _module(spec, name)
    frame = module.build(frames.load(spec, folder, known), given)
    shown = module.display(frame) if hasattr(module, "display") else frame
    disclaimer = spec.disclaimer(budget)
    note = f" Budget: {name}{f', so {disclaimer.badge}' if disclaimer else ''}."
    caption = spec.caption.strip() + (note if spec.experiments else "")
    return table_files.save(frame, shown, spec, caption, folder / "tables" / spec.name)


def _module(spec: Spec, budget: str) -> tuple[ModuleType, Params]:
    """The specification's module, and its parameters with the options validated by it."""
    source, path = f"params/{spec.kind}/{spec.name}.yaml", f"workflow.{spec.kind}.{spec.module}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        where = f"workflow/{spec.kind}"
        raise ConfigError(f"{source}: module {spec.module} is no file of {where}") from None
    kind: type[Section] = getattr(module, "Options", Section)
    options = validate(kind, spec.options, [Layer(f"{source}, options", spec.options)])
    return module, Params(budget, spec, options)
