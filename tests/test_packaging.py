"""The locks: nothing of the machine that made them, and everything that our code imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from workflow.setup.environment import LOCKS, TORCH, pins

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE, CPU, CUDA = (
    pins((LOCKS / f"{name}.lock").read_text()) for name in ("base", "torch-cpu", "torch-cuda")
)
LINE = re.compile(
    r"#.*make lock.*|[a-z0-9-]+={2,3}[\w.+!]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*extras: str) -> dict[str, Requirement]:
    """What the project and some of its extras ask for, by name; `amago2[...]` resolved."""
    found = {}
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][key] for key in extras)]
    for text in (text for texts in lists for text in texts):
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            found |= requirements(*requirement.extras)
        else:
            found[canonical(requirement.name)] = requirement
    return found


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.lock")), ids=lambda path: path.name)
def test_a_lock_holds_versions_and_hashes_only(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if not LINE.fullmatch(line)] == []


def test_the_locks_split_at_pytorch() -> None:
    assert CPU == {"torch": f"{TORCH}+cpu"}
    assert CUDA["torch"] == TORCH
    assert not set(BASE) & set(CUDA)
    assert {name for name in BASE if name.startswith(("nvidia", "triton"))} == {"nvidia-ml-py"}
    assert all(name.startswith(("nvidia-", "cuda-", "triton", "torch")) for name in CUDA)


def test_every_requirement_is_locked_at_a_version_it_admits() -> None:
    wanted = requirements(*PROJECT["optional-dependencies"])
    locked = BASE | CPU
    assert set(wanted) <= set(locked)
    assert [name for name, wish in wanted.items() if locked[name] not in wish.specifier] == []
    assert TORCH in wanted["torch"].specifier


@pytest.mark.parametrize(
    ("room", "extras"),
    [
        ("amago2", ("video",)),
        ("envs", ("benchmarks",)),
        ("workflow", ("pipeline", "baselines", "benchmarks")),
    ],
)
def test_every_import_is_a_declared_requirement(room: str, extras: tuple[str, ...]) -> None:
    providers = packages_distributions()
    declared = set(requirements(*extras))
    wrong = set()
    for path in (ROOT / room).rglob("*.py"):
        for name in (
            top_level_imports(path) - sys.stdlib_module_names - {"amago2", "envs", "workflow"}
        ):
            if not {canonical(provider) for provider in providers.get(name, ())} & declared:
                wrong.add(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong


def top_level_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert "2411.11188" in str(citation["references"])
