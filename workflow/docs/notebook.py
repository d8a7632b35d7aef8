"""Jupyter notebooks: their code, and as pages of the site."""

import json
from pathlib import Path
from typing import NamedTuple


class Cell(NamedTuple):
    """One cell: its kind, `markdown` or `code`, and its text."""

    kind: str
    text: str


def cells(path: Path) -> list[Cell]:
    """The cells of a notebook."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Cell(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]


def page(path: Path) -> str:
    """A notebook in Markdown, with its code in blocks."""
    blocks = [
        cell.text if cell.kind == "markdown" else f"```python\n{cell.text}\n```"
        for cell in cells(path)
    ]
    return "\n\n".join(blocks) + "\n"
