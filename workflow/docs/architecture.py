"""The packages and their imports, drawn into docs/architecture.md: `make architecture`.

An arrow points to what a package imports. Arrows that follow from others are left out, so that
the drawing can be read; the contracts in pyproject.toml say what is allowed.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from workflow.docs.marked_section import publish

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
COMMAND = "make architecture"
Arrows = dict[str, set[str]]


def packages(root: str) -> dict[str, str]:
    """The packages directly in `root`, and the first line of what their docstrings say."""
    found = {}
    for path in sorted((ROOT / root).glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[f"{root}.{path.parent.name}"] = text.partition("\n")[0]
    return found


def imported(folder: Path) -> Iterator[str]:
    """Every module that the files of a package import, also inside functions."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(nodes: Mapping[str, str]) -> Arrows:
    """What each package imports of the others; a node may stand for a whole tree (`envs`)."""
    found: Arrows = {}
    for node in nodes:
        names = set(imported(ROOT / node.replace(".", "/")))
        own = {other for other in nodes for name in names if f"{name}.".startswith(f"{other}.")}
        found[node] = own - {node}
    return found


def transitive_reduction(found: Arrows) -> Arrows:
    """The arrows without those that a longer way makes superfluous; there is no circle."""

    def reached(node: str) -> set[str]:
        return found[node].union(*(reached(other) for other in found[node]))

    return {
        node: others - set().union(*(reached(other) for other in others))
        for node, others in found.items()
    }


def drawing(nodes: Mapping[str, str]) -> str:
    """A Mermaid flow chart, from the importing to the imported."""
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {node.replace('.', '_')}[{node}]" for node in nodes]
    for node, others in transitive_reduction(arrows(nodes)).items():
        lines += [
            f"    {node.replace('.', '_')} --> {other.replace('.', '_')}"
            for other in sorted(others)
        ]
    return "\n".join([*lines, "```"])


def table(nodes: Mapping[str, str]) -> str:
    """What belongs where, as the packages' docstrings say."""
    rows = [f"| `{node.replace('.', '/')}/` | {what} |" for node, what in nodes.items()]
    return "\n".join(["| package | what belongs there |", "|---|---|", *rows])


def text() -> str:
    """Both drawings and their tables."""
    agent, pipeline = packages("amago2"), packages("workflow")
    trees = {"amago2": "the agent", "envs": "the benchmarks' environments"}
    return "\n\n".join(
        [
            "### The agent", drawing(agent), table(agent),
            "### The pipeline", drawing({**pipeline, **trees}), table(pipeline),
        ]
    )  # fmt: skip


def write() -> None:
    """Write the drawings into the page."""
    publish(PAGE, COMMAND, text())
