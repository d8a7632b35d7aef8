"""Make one figure or one table from tidy tables and its parameter file.

python -m workflow.render.draw figure fig05 --budget smoke
python -m workflow.render.draw table compute --budget smoke
python -m workflow.render.draw check                         (all parameter files, nothing is drawn)
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from amago2.config.layers import Layer, Section, validate
from amago2.errors import ConfigError
from workflow.config import catalog
from workflow.config.catalog import FigureSpec, Spec, TableSpec


@dataclass(frozen=True)
class Params:
    """What a module gets beside its tables: the budget, its parameter file, its own options."""

    budget: str
    spec: Any
    options: Any


def render(kind: str, name: str, budget: str, results: Path, params: Path) -> list[Path]:
    """Read, compute, save; returns the files written."""
    known, folder = catalog.experiments(params), results / budget
    if kind == "figure":
        return _figure(catalog.figure(params, name), budget, folder, known)
    return _table(catalog.table(params, name), budget, folder, known)


def check(params: Path) -> None:
    """Validate every figure's and table's parameter file, options included."""
    for spec in (*catalog.figures(params).values(), *catalog.tables(params).values()):
        _module(spec, "")


def _figure(spec: FigureSpec, budget: str, folder: Path, known: Sequence[str]) -> list[Path]:
    from workflow.analysis import frames
    from workflow.render import style  # heavy: only once the parameter file is known to be right

    module, given = _module(spec, budget)
    figure = module.render(frames.load(spec, folder, known), given)
    return style.save(figure, folder / "figures" / spec.name)


def _table(spec: TableSpec, budget: str, folder: Path, known: Sequence[str]) -> list[Path]:
    from workflow.analysis import frames
    from workflow.render import table_files as emit

    module, given = _module(spec, budget)
    frame = module.build(frames.load(spec, folder, known), given)
    shown = module.display(frame) if hasattr(module, "display") else frame
    smoke = budget == "smoke" and spec.options.get("badge") != "seeds"
    note = f" Budget: {budget}{', so not a result' if smoke else ''}."
    caption = spec.caption.strip() + (note if spec.experiments else "")
    return emit.save(frame, shown, spec, caption, folder / "tables" / spec.name)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.render.draw", description=__doc__)
    parser.add_argument("kind", choices=("figure", "table", "check"))
    parser.add_argument("name", nargs="?")
    parser.add_argument("--budget")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--params", type=Path, default=Path("params"))
    given = parser.parse_args(arguments)
    if given.kind != "check" and not (given.name and given.budget):
        parser.error("a figure or a table needs its name and --budget")
    try:
        if given.kind == "check":
            check(given.params)
        else:
            render(given.kind, given.name, given.budget, given.results, given.params)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
