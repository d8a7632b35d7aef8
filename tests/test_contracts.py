"""What the import contracts of pyproject.toml (`lint-imports`) cannot say.

Those name every package and whom it may import. Here: imports stay cheap, set-up runs where nothing
is installed, and the product reads no file of the tests.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("amago2", "envs", "workflow")
HEAVY = {"torch", "gymnasium", "matplotlib", "pandas", "tensorboard"}


def modules(folder: str) -> list[Path]:
    """The Python files below a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def test_imports_name_the_package() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports relatively"
        for folder in (*PRODUCT, "tests")
        for path in modules(folder)
        for line, name in imported(path)
        if name.startswith(".")
    ]
    assert not wrong


def test_packages_say_what_belongs_in_them() -> None:
    for folder in PRODUCT:
        packages = sorted((ROOT / folder).rglob("__init__.py"))
        assert ROOT / folder / "__init__.py" in packages
        for path in packages:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"
            if (
                path.parent.parent != ROOT and path.parent != ROOT / "amago2" / "env"
            ):  # has a few names
                assert len(tree.body) == 1, f"{path.relative_to(ROOT)} holds code"


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for folder in PRODUCT for path in modules(folder)}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_setup_is_imported_where_nothing_is_installed() -> None:
    names = [f"workflow.setup.{path.stem}" for path in modules("workflow/setup")]
    code = "\n".join(f"import {name}" for name in names)
    without_packages = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path[:0] = ['.']\n{code}",
    ]
    done = subprocess.run(without_packages, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_product_reads_no_file_of_the_tests() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in PRODUCT
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"(\./)?tests(/|$)", node.value)
        and path != ROOT / "workflow" / "setup" / "clean.py"  # deletes bytecode there
    ]
    assert not wrong


def heavy_after(code: str) -> set[str]:
    """Which heavy libraries a fresh Python has loaded after some imports."""
    code += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("module", ["amago2", "amago2.config.schema", "envs", "workflow"])
def test_imports_that_load_no_heavy_library(module: str) -> None:
    assert not heavy_after(f"import {module}")


def test_the_dag_is_read_without_pytorch() -> None:
    files = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in files if path.exists())
    ours = re.findall(r"^(?:from|import) ((?:amago2|envs|workflow)[\w.]*)", text, re.MULTILINE)
    assert ours
    assert "torch" not in heavy_after("\n".join(f"import {name}" for name in ours))
