"""When something was made from what: content, not file times, decides what is made anew.

What is to be made has a *recipe*: its parameters, the code that makes it, the files that it is made
from. Once made it has a *receipt*: the recipe with the digests of those files and of what came out,
committed beside the results. It is current while recipe and receipt agree.

    python -m workflow.dag.fingerprints RECIPE      (the last step of each job: write the receipt)
"""

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from amago2.files import write_atomically

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("amago2", "envs", "workflow")
UNFOLLOWED = {"amago2.config.schema", "amago2.config.layers"}
"""Says which parameters are allowed, never what is made of them."""

Digests = Mapping[str, str | None]


@dataclass(frozen=True)
class Recipe:
    """What something is made from; paths are relative to the project."""

    receipt: str
    parameters: str
    """Digest of its own parameters' values, so that comments do not count."""
    code: str
    """Digest of the code that makes it, so that neither comments nor formatting count."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def is_current(self, known: Digests) -> bool:
        """Does the receipt agree? `known` are digests of files that need not be read."""
        made = read(Path(self.receipt))
        return (
            made.get("parameters") == self.parameters
            and made.get("code") == self.code
            and made.get("inputs") == self._digests(self.inputs, known)
            and sorted(made.get("outputs", {})) == sorted(self.outputs)
        )

    def write_receipt(self) -> None:
        """Say what it was made from and what came out; all outputs must be there."""
        content = {
            "parameters": self.parameters,
            "code": self.code,
            "inputs": self._digests(self.inputs, {}),
            "outputs": self._digests(self.outputs, {}),
        }
        write_atomically(Path(self.receipt), json.dumps(content, indent=1, sort_keys=True) + "\n")

    def to_json(self, **more: Any) -> str:
        """For a job that will call `write_receipt`."""
        return json.dumps(asdict(self) | more, indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """What `to_json` wrote."""
        content = read(path)
        receipt, parameters, code = (content[key] for key in ("receipt", "parameters", "code"))
        return cls(receipt, parameters, code, tuple(content["inputs"]), tuple(content["outputs"]))

    @staticmethod
    def _digests(paths: Iterable[str], known: Digests) -> dict[str, str | None]:
        return {path: known[path] if path in known else file_digest(Path(path)) for path in paths}


def read(path: Path) -> dict[str, Any]:
    """A JSON mapping; empty if there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file; None if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None


def value_digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(*modules: str) -> str:
    """SHA-256 of what the modules say, and all modules of this project that they import."""
    found: dict[str, str] = {}
    left = list(modules)
    while left:
        module = left.pop()
        if module in found or (path := _source(module)) is None:
            continue
        found[module], imported = _parse(path)
        left += imported
    return value_digest(found)


def _source(module: str) -> Path | None:
    """The module's file, if it is one of this project and not an empty package."""
    if module in UNFOLLOWED or module.split(".")[0] not in PACKAGES:
        return None
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _parse(path: Path) -> tuple[str, list[str]]:
    """Digest of the syntax tree, and all that it imports."""
    tree = ast.parse(path.read_bytes())
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.dag.fingerprints", description=__doc__
    )
    parser.add_argument("recipe", type=Path)
    recipe = Recipe.load(parser.parse_args(arguments).recipe)
    missing = [path for path in recipe.outputs if not Path(path).is_file()]
    if missing:
        print(f"{missing[0]}: was not made", file=sys.stderr)
        return 1
    recipe.write_receipt()
    return 0


if __name__ == "__main__":
    sys.exit(main())
