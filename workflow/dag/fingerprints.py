"""Fingerprints of targets: digests of everything that decides what a target's files contain.

A target's fingerprint covers its parameters, the code that makes it and its input files. File times
are no part of it. `workflow.dag.provenance` compares it with what the target was last made from.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError
from amago2.files import read_json, sha256, write_atomically

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("amago2", "envs", "workflow")
NOT_FOLLOWED = {"amago2", "amago2.config.schema", "amago2.config.layers"}
"""The agent's face, which imports all of it when that is asked for, and modules that say which
parameters are allowed: they decide nothing of what is made."""

Digests = Mapping[str, str | None]
"""SHA-256 by path, relative to the project; None for a file that does not exist."""


@dataclass(frozen=True)
class Fingerprint:
    """What a target is made from and which files it makes; paths are relative to the project."""

    provenance: str
    """Path of its provenance record."""
    parameters: str
    """Digest of the parameters' values, so that comments do not count."""
    code: str
    """Digest of the syntax trees, so that neither comments nor formatting count."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write it for the target's job, which runs in another process."""
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Fingerprint":
        """Read what `write` wrote. Raises `ConfigError` if there is no such file."""
        content = read_json(path)
        try:
            inputs, outputs = tuple(content["inputs"]), tuple(content["outputs"])
            return cls(
                content["provenance"], content["parameters"], content["code"], inputs, outputs
            )
        except (KeyError, TypeError):
            raise ConfigError(f"{path}: no such fingerprint; planning writes it") from None


def file_digests(paths: Iterable[str], known: Digests | None = None) -> dict[str, str | None]:
    """Digests by path; files in `known` are not read."""
    known = known or {}
    return {path: known[path] if path in known else file_digest(Path(path)) for path in paths}


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file; None if there is none, or something that is no regular file."""
    return sha256(path) if path.is_file() else None


def value_digest(value: Any) -> str:
    """SHA-256 of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(*modules: str) -> str:
    """SHA-256 of the modules' syntax trees and of all modules of this project that they import."""
    digests: dict[str, str] = {}
    left = list(modules)
    while left:
        module = left.pop()
        if module in digests or (path := _source(module)) is None:
            continue
        digests[module], imported = _parse(path)
        left += imported
    return value_digest(digests)


def _source(module: str) -> Path | None:
    """The module's file, if it belongs to this project and is to be followed."""
    if module in NOT_FOLLOWED or module.split(".")[0] not in PACKAGES:
        return None
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _parse(path: Path) -> tuple[str, list[str]]:
    """Digest of the syntax tree, and the names of everything that it imports."""
    tree = ast.parse(path.read_bytes())
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(_dump(tree).encode()).hexdigest(), imported


def _dump(tree: ast.AST) -> str:
    """A syntax tree as text: that of Python 3.11, whichever Python this is."""
    if sys.version_info >= (3, 13):
        text = ast.dump(tree, show_empty=True)
    else:
        text = ast.dump(tree)
    text = text.replace(", type_params=[]", "")  # since 3.12
    return text.replace(", Constant(value='')]))", "]))")  # 3.12, at the end of `:{width}`
