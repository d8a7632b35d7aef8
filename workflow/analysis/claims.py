"""The claims of `params/claims.yaml` as a tidy table, which verdicts are made from.

python -m workflow.analysis.claims --out results/<budget>/tables/data/claims.csv
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.analysis.tidy import to_csv
from workflow.config.claims import read

COLUMNS = (
    "claim", "title", "statistic", "plus", "minus", "above", "below", "published",
    "published_from", "decided_at", "control",
)  # fmt: skip


def rows(params: Path) -> Iterator[dict[str, Any]]:
    """The claims as rows of their tidy table."""
    for name, claim in read(params).items():
        above, below = claim.bounds()
        published = claim.published
        yield {
            "claim": name,
            "title": claim.title,
            "statistic": claim.statistic,
            "plus": json.dumps([agent.model_dump(exclude_defaults=True) for agent in claim.plus]),
            "minus": json.dumps([agent.model_dump(exclude_defaults=True) for agent in claim.minus]),
            "above": above,
            "below": below,
            "published": published.value if published else None,
            "published_from": published.source if published else None,
            "decided_at": " ".join(claim.decided_at),
            "control": int(claim.control),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.analysis.claims", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=Path("params"))
    given = parser.parse_args(arguments)
    try:
        write_atomically(given.out, to_csv(COLUMNS, rows(given.params)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
