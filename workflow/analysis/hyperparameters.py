"""The resolved parameters of every benchmark, one value a row: what table1 and table2 show.

    python -m workflow.analysis.hyperparameters --out hyperparameters.csv

Always those of the budget `paper`, whichever budget's results they are shown beside.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.analysis.tidy import to_csv
from workflow.config.budgets import PUBLISHED
from workflow.config.parameters import Parameters

COLUMNS = ("benchmark", "key", "value")
VARIANT = "ind_actor_ind_critic"


def rows(parameters: Parameters) -> Iterator[dict[str, str]]:
    """Rows (benchmark, dotted key, value as JSON) of all benchmarks."""
    for benchmark in parameters.names("benchmarks"):
        config = parameters.resolve(benchmark, VARIANT, PUBLISHED)
        for key, value in leaves(config.model_dump(mode="json")):
            yield {"benchmark": benchmark, "key": key, "value": json.dumps(value, sort_keys=True)}


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.analysis.hyperparameters", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    parser.add_argument("--params", type=Path, default=Path("params"))
    given = parser.parse_args(arguments)
    try:
        text = to_csv(COLUMNS, rows(Parameters(given.params)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    write_atomically(given.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
