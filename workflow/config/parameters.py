"""A benchmark, a variant, a budget and a seed resolved to one complete configuration.

Partial configurations are laid over each other, later ones win: benchmark, variant, budget (for all
benchmarks, then for this one), the experiment's cell, the command line.
"""

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from amago2.config.documents import read_yaml
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, RunConfig, build_as
from amago2.config.validation import validate
from amago2.errors import ConfigError
from workflow.baselines.config import TRAINERS, kind_of
from workflow.config.budgets import Budget
from workflow.config.files import parameter_files


class Parameters:
    """The project's parameter folder; each file is read once."""

    def __init__(self, folder: Path = Path("params")) -> None:
        self.folder = folder
        self._read = cache(read_yaml)
        self.budget = cache(self._budget)

    def names(self, kind: str) -> list[str]:
        """All parameter files of a kind, such as `variants`."""
        return [path.stem for path in parameter_files(self.folder / kind)]

    def choose(self, kind: str, name: str, asked_by: str = "") -> Path:
        """The file of `name`; a `ConfigError` that lists what there is if it is unknown."""
        known = self.names(kind)
        if name not in known:
            raise ConfigError(unknown(f"{kind.removesuffix('s')} {name}", name, known, asked_by))
        return self.folder / kind / f"{name}.yaml"

    def layer(self, kind: str, name: str, asked_by: str = "") -> Layer:
        """The partial configuration in the file of `name`."""
        path = self.choose(kind, name, asked_by)
        return Layer(str(path), self._read(path))

    def _budget(self, name: str) -> Budget:
        layer = self.layer("budgets", name)
        budget = validate(Budget, layer.data, [layer])
        for benchmark in budget.benchmarks:
            self.choose("benchmarks", benchmark, asked_by=layer.source)
        return budget

    def budget_layers(self, name: str, benchmark: str) -> list[Layer]:
        """What the budget lays over the configuration of `benchmark`."""
        budget, path = self.budget(name), self.folder / "budgets" / f"{name}.yaml"
        special = Layer(f"{path}, benchmarks.{benchmark}", budget.benchmarks.get(benchmark, {}))
        return [Layer(f"{path}, all", budget.all), special]

    def resolve(
        self,
        benchmark: str,
        variant: str,
        budget: str,
        seed: int = 0,
        over: Sequence[Layer] = (),
        asked_by: str = "",
    ) -> RunConfig:
        """The complete, validated configuration; `over` wins over all files.

        Benchmarks and budgets have sections for every trainer: those of others are left aside.
        """
        names = {"benchmark": benchmark, "variant": variant, "budget": budget, "seed": seed}
        chosen = self.layer("variants", variant, asked_by)
        kind = kind_of(chosen.data, chosen.source)
        benchmark_layer = self.layer("benchmarks", benchmark, asked_by)
        budget_layers = [own_sections(kind, x) for x in self.budget_layers(budget, benchmark)]
        layers = [own_sections(kind, benchmark_layer), chosen, *budget_layers]
        for layer in (*layers, *over):
            if fixed := sorted(names.keys() & layer.data.keys()):
                raise ConfigError(
                    f"{layer.source}: {fixed[0]} is set by what is chosen to run; leave the key out"
                )
        return build_as(kind, [*layers, *over, Layer("command line", names)])


def own_sections(kind: type[RunConfig], layer: Layer) -> Layer:
    """The layer without the sections that only other trainers have."""
    kinds: list[type[RunConfig]] = [AmagoConfig, *TRAINERS.values()]
    known = {key for each in kinds for key in each.model_fields}
    others = known - set(kind.model_fields)
    return Layer(layer.source, {k: v for k, v in layer.data.items() if k not in others})


def unknown(what: str, name: str, known: Sequence[str], asked_by: str = "") -> str:
    """One sentence for an unknown `name`: the nearest known one, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    source = f"{asked_by}: " if asked_by else ""
    return f"{source}unknown {what}; {hint}allowed are {', '.join(known) or 'none'}"
