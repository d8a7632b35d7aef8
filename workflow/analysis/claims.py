"""The claims of `params/claims.yaml` as a tidy table, which verdicts are made from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def to_table(params: Path) -> str:
    """The claims as CSV, from the folder of parameter files."""
    return to_csv(COLUMNS, rows(params))
