"""table1 and table2: our resolved parameters beside the published ones."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd
from pydantic import Field

from amago2.config.layers import Section
from amago2.errors import ConfigError
from workflow.analysis.frames import Tables
from workflow.render.draw import Params

Values = dict[str, Any]


class Row(Section):
    """A row: its label, and the keys whose values it joins."""

    label: str
    keys: tuple[str, ...] = Field(min_length=1)


class Options(Section):
    """Parameters of the table."""

    rows: tuple[Row, ...] = Field(min_length=1)
    published_as: dict[str, str] = {}
    """Benchmarks that the paper does not list apart, and the one whose values are theirs too."""


def build(tables: Tables, params: Params) -> pd.DataFrame:
    """Rows (parameter, benchmark, value, published, same); `published` is empty where none is."""
    given, published = tables["hyperparameters"], tables["reference.published"]
    printed = published.set_index(["parameter", "benchmark"]).value
    known = [name for name in dict.fromkeys(published.benchmark) if name != "all"]
    found = []
    for benchmark in _in_order(given.benchmark, known):
        subset = given[given.benchmark == benchmark]
        values = dict(zip(subset.key, map(json.loads, subset.value), strict=True))
        name = params.options.published_as.get(benchmark, benchmark)
        for row in params.options.rows:
            ours = " ".join(_text(key, values) for key in row.keys)
            paper = printed.get((row.label, name), printed.get((row.label, "all")))
            paper = paper if name in known else None
            same = None if paper is None else ours == paper
            found.append((row.label, benchmark, ours, paper, same))
    return pd.DataFrame(found, columns=["parameter", "benchmark", "value", "published", "same"])


def _in_order(benchmarks: Iterable[str], known: list[str]) -> list[str]:
    """Benchmarks as in the published table, the others behind by name."""
    return sorted(set(benchmarks), key=lambda b: (known.index(b) if b in known else len(known), b))


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """One column per benchmark, or for several that are alike; see `_shown`."""
    shown = [_shown(*row) for row in zip(frame.value, frame.published, frame.same, strict=True)]
    wide = frame.assign(shown=shown).pivot(index="parameter", columns="benchmark", values="shown")
    wide = wide.loc[list(dict.fromkeys(frame.parameter))]
    columns: dict[tuple[str, ...], list[str]] = {}
    for benchmark in dict.fromkeys(frame.benchmark):
        columns.setdefault(tuple(wide[benchmark]), []).append(benchmark)
    alike = {", ".join(names): texts for texts, names in columns.items()}
    return pd.DataFrame({"parameter": wide.index, **alike})


def _shown(value: str, published: str | None, same: bool | None) -> str:
    if pd.isna(published):
        return f"{value} *"
    return value if same else f"{value} † (paper: {published})"


def _text(key: str, values: Values) -> str:
    if key == "encoder":
        return encoder(values)
    if key not in values:
        raise ConfigError(f"a row asks for parameter {key}, which no configuration has")
    return _format(values[key])


def _format(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)


def encoder(values: Values) -> str:
    """The timestep encoder as the paper writes it: FF (hidden width, output width), say."""
    kind = values["timestep_encoder.kind"]
    if kind == "feed_forward":
        hidden = sorted(set(values["timestep_encoder.hidden_sizes"]))
        return f"FF ({_format(hidden)}, {_format(values['timestep_encoder.output_size'])})"
    if kind == "cnn" and values["timestep_encoder.architecture"] == "impala":
        return f"IMPALA CNN {_format(values['timestep_encoder.channels'])}"
    if kind == "grid_language":
        return "grid CNN + language RNN + FF"
    return " ".join(
        str(values.get(key, ""))
        for key in ("timestep_encoder.architecture", "timestep_encoder.kind")
    ).strip()
