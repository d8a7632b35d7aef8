"""A table as CSV in full, and as Markdown and LaTeX to be read; always the same bytes."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from amago2.files import write_together
from workflow.config.catalog import TableSpec

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line or turns the order of letters: it can come with the name of a task."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "†": r"\dag{}", "×": r"$\times$", "–": "--", "γ": r"$\gamma$", "τ": r"$\tau$",
}  # fmt: skip


def save(
    frame: pd.DataFrame, shown: pd.DataFrame, spec: TableSpec, caption: str, stem: Path
) -> list[Path]:
    """Write `stem`.csv from `frame`, and .md and .tex from `shown`, the same content for people.

    All of them or none.
    """
    texts = {
        "csv": frame.to_csv(index=False, lineterminator="\n"),
        "md": markdown(shown, spec.title, caption),
        "tex": latex(shown, spec.name, f"{spec.title}. {caption}"),
    }
    written = {stem.with_name(f"{stem.name}.{ending}"): text for ending, text in texts.items()}
    write_together(written)
    return list(written)


def cell(value: Any) -> str:
    """A value for reading: four significant digits, thousands set apart, a dash where none is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], str(value))


def _number(value: float) -> str:
    if math.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def markdown(frame: pd.DataFrame, title: str, caption: str) -> str:
    """A Markdown table under its title, with its caption below it."""
    head, *body = _rows(frame)
    right = _numeric(frame)
    rule = ["---:" if number else "---" for number in right]
    rows = [[text.replace("|", r"\|") for text in row] for row in (head, rule, *body)]
    lines = [" | ".join(row).join(("| ", " |")) for row in rows]
    return "\n".join([f"## {title}", "", *lines, "", caption, ""])


def latex(frame: pd.DataFrame, label: str, caption: str) -> str:
    """A LaTeX table for the booktabs package."""
    head, *body = ([_escape(text) for text in row] for row in _rows(frame))
    columns = "".join("r" if number else "l" for number in _numeric(frame))
    lines = [
        r"\begin{table}", r"\centering", r"\small",
        rf"\caption{{{_escape(caption)}}}", rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
        _latex_row(head), r"\midrule", *map(_latex_row, body), r"\bottomrule",
        r"\end{tabular}", r"\end{table}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _rows(frame: pd.DataFrame) -> list[list[str]]:
    """Header and body as text; a frame without rows says so in one row."""
    head = [str(column) for column in frame.columns]
    # Column by column: a row as a whole would turn its integers into floats.
    body = [list(row) for row in zip(*([cell(v) for v in frame[c]] for c in frame), strict=True)]
    if not body:
        body = [["no finished run"] + [""] * (len(head) - 1)]
    return [head, *body]


def _numeric(frame: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
