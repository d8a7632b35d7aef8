"""table1 and table2: our resolved parameters beside the published ones."""

import json
from typing import Any

import pandas as pd
from pydantic import Field

from amago2.layers import ConfigError, Section
from workflow.frames import Tables
from workflow.render import Params

Values = dict[str, Any]


class Row(Section):
    """A row: its label, and the keys whose values it joins."""

    label: str
    keys: tuple[str, ...] = Field(min_length=1)


class Options(Section):
    """Parameters of the table."""

    rows: tuple[Row, ...] = Field(min_length=1)


def build(tables: Tables, params: Params) -> pd.DataFrame:
    """Rows (parameter, benchmark, value, published, same); `published` is empty where none is."""
    given, published = tables["hyperparameters"], tables["reference.published"]
    printed = published.set_index(["parameter", "benchmark"]).value
    found = []
    for benchmark in dict.fromkeys(given.benchmark):
        own = given[given.benchmark == benchmark]
        values = dict(zip(own.key, map(json.loads, own.value), strict=True))
        for row in params.options.rows:
            ours = " ".join(_text(key, values) for key in row.keys)
            paper = printed.get((row.label, benchmark), printed.get((row.label, "all")))
            if benchmark not in set(published.benchmark):
                paper = None
            same = None if paper is None else ours == paper
            found.append((row.label, benchmark, ours, paper, same))
    return pd.DataFrame(found, columns=["parameter", "benchmark", "value", "published", "same"])


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """One column per benchmark; a value that differs has the paper's in brackets."""
    shown = [_shown(*row) for row in zip(frame.value, frame.published, frame.same, strict=True)]
    order = list(dict.fromkeys(frame.parameter))
    wide = frame.assign(shown=shown).pivot(index="parameter", columns="benchmark", values="shown")
    return wide.loc[order].rename_axis(columns=None).reset_index()


def _shown(value: str, published: str | None, same: bool | None) -> str:
    if published is None:
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
    """The timestep encoder as the paper writes it: FF (hidden width, output width)."""
    if values["encoder.kind"] == "ff":
        hidden = sorted(set(values["encoder.hidden"]))
        return f"FF ({_format(hidden)}, {_format(values['encoder.output'])})"
    own = [(key, value) for key, value in values.items() if key.startswith("encoder.")]
    return ", ".join(f"{key.removeprefix('encoder.')} {_format(value)}" for key, value in own)
