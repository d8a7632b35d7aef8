"""The reference of `amago2` on the documentation site: signatures and docstrings, by package.

Docstrings are Markdown, as everything else in docs/. Nothing is imported.
"""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "amago2"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def pages() -> dict[str, str]:
    """Every page by name: `index`, and one for each package."""
    packages = sorted(path.parent for path in (ROOT / PACKAGE).glob("*/__init__.py"))
    found = {"index": _index()}
    for folder in packages:
        modules = sorted(folder.rglob("*.py"))
        found[folder.name] = "\n\n".join([f"# {_dotted(folder)}", *map(_module, modules)]) + "\n"
    return found


def _index() -> str:
    """The page of the modules directly in the package, with the list of the other pages."""
    modules = sorted((ROOT / PACKAGE).glob("*.py"))
    parts = [
        f"# {PACKAGE}",
        "Signatures and docstrings of the agent, as they are in the code. Most users need four "
        "names: `amago2.train`, `amago2.load`, `amago2.load_config` and `amago2.check_env`.",
        "```{toctree}\n:maxdepth: 1\n:glob:\n\n*\n```",
        *(_module(path) for path in modules if path.name != "__main__.py"),
    ]
    return "\n\n".join(parts) + "\n"


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _module(path: Path) -> str:
    """A module's section: what it says of itself, its constants, classes and functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = [] if path.name == "__init__.py" else [f"## {_dotted(path)}"]
    parts += [ast.get_docstring(tree) or "", _constants(tree.body)]
    parts += [_definition(node, 3) for node in _public(tree.body)]
    return "\n\n".join(part for part in parts if part)


def _public(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node


def _definition(node: Definition, level: int) -> str:
    """A heading, the signature, the docstring; of a class also its fields and methods."""
    parts = [f"{'#' * level} {node.name}", f"```python\n{_signature(node)}\n```"]
    parts.append(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        parts.append(_constants(node.body))
        parts += [_definition(each, level + 1) for each in _public(node.body)]
    return "\n\n".join(part for part in parts if part)


def _signature(node: Definition) -> str:
    """The lines of the definition without its body."""
    decorators = [f"@{ast.unparse(each)}\n" for each in node.decorator_list]
    if isinstance(node, ast.ClassDef):
        given = [*node.bases, *node.keywords]
        bases = f"({', '.join(map(ast.unparse, given))})" if given else ""
        return "".join([*decorators, f"class {node.name}{bases}"])
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({ast.unparse(node.args)}){returns}"
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    if len(line) > 80:
        arguments = "".join(f"\n    {each}," for each in _split(ast.unparse(node.args)))
        line = f"{node.name}({arguments}\n){returns}"
    return "".join([*decorators, f"{word} {line}"])


def _split(arguments: str) -> list[str]:
    """Parameters one by one: commas within brackets belong to a type or a default."""
    found, depth = [""], 0
    for each in arguments:
        depth += (each in "([{") - (each in ")]}")
        if each == "," and not depth:
            found.append("")
        else:
            found[-1] += each
    return [each.strip() for each in found]


def _constants(body: list[ast.stmt]) -> str:
    """Constants of a module, or fields of a class, that have a docstring, as a list."""
    rows = []
    for node, below in pairwise(body):
        match node, below:
            case (
                ast.AnnAssign() | ast.Assign(),
                ast.Expr(ast.Constant(str(text))),
            ):
                if not (line := ast.unparse(node)).startswith("_"):
                    rows.append(f"- `{_shortened(line)}`: {' '.join(text.split())}")
    return "\n".join(rows)


def _shortened(line: str) -> str:
    """One line of code that fits beside its meaning."""
    line = " ".join(line.split()).replace("`", "'")
    return line if len(line) <= 90 else f"{line[:87]}..."
