"""The resolved parameters of every benchmark, one value a row: what table1 and table2 show.

Always those of the budget `paper`, whichever budget's results they are shown beside.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from amago2.config.plain import plain
from workflow.analysis.tidy import to_csv
from workflow.config.budgets import PUBLISHED
from workflow.config.parameters import Parameters

COLUMNS = ("benchmark", "key", "value")
VARIANT = "ind_actor_ind_critic"


def rows(parameters: Parameters) -> Iterator[dict[str, str]]:
    """Rows (benchmark, dotted key, value as JSON) of all benchmarks."""
    for benchmark in parameters.names("benchmarks"):
        config = parameters.resolve(benchmark, VARIANT, PUBLISHED)
        for key, value in leaves(plain(config)):
            yield {"benchmark": benchmark, "key": key, "value": json.dumps(value, sort_keys=True)}


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def to_table(params: Path) -> str:
    """The whole table as CSV, from the folder of parameter files."""
    return to_csv(COLUMNS, rows(Parameters(params)))
