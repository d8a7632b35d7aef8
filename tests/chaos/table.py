"""The table of what was survived, also in docs/reliability.md."""

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.trial import Failure, Outcome, Tally
from workflow.docs.marked_section import publish as publish_section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
COMMAND = "make chaos WRITE=1"


def table(tallies: Sequence[Tally]) -> str:
    """A row for each kind, in Markdown."""
    columns = [*Outcome, *Failure]
    rows = [["what happened to it", "trials", *columns], ["---"] * (len(columns) + 2)]
    for tally in tallies:
        counts = [str(tally.outcomes.get(column, 0)) for column in columns]
        tried = str(sum(tally.outcomes.values()))
        if tally.skipped:
            tried, counts = "not run", ["" for _ in columns]
        rows.append([tally.kind.title, tried, *counts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def publish(tallies: Sequence[Tally], page: Path = PAGE) -> None:
    """Write the table into the page. Rows of kinds that were not tried this time stay."""
    head, line, *rows = table(tallies).splitlines()
    found = {_title(row): row for row in rows}
    before = [row for row in page.read_text().splitlines() if row.startswith("| ")]
    kept = [found.pop(_title(row), row) for row in before[2:]] if head in before else []
    publish_section(page, COMMAND, "\n".join([head, line, *kept, *found.values()]))


def _title(row: str) -> str:
    return row.split(" | ")[0]
