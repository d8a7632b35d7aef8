"""Who may import whom: between the rooms, and within `amago2` from top to bottom only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "amago2": {"amago2"},
    "envs": {"envs"},
    "workflow": {"workflow", "amago2", "envs"},
}
PYRAMID = [  # a file imports from the lines below its own
    {"cli"},
    {"train"},
    {"run"},
    {"video"},
    {"telemetry", "play", "probe", "origin", "overlap"},
    {"evaluate"},
    {"collect", "learn", "checkpoint"},
    {"agent", "resources"},
    {"replay", "objectives"},
    {"nets.action_values"},
    {"nets.critic"},
    {"nets.heads"},
    {"nets.trajectory_encoders"},
    {"nets.recurrent"},
    {"nets.transformer", "nets.timestep_encoders", "nets.distributions"},
    {"workers"},
    {"vector_env", "exploration", "batch", "nets.images"},
    {"nets.precision"},
    {"sizes"},
    {"popart"},
    {"moments"},
    {"config", "data_parallel", "value_bins", "spaces", "seeding", "files"},
    {"layers"},
]
HEAVY = {"torch", "gymnasium", "matplotlib", "pandas", "tensorboard"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports anywhere in it, `from amago2 import x` as `amago2.x`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relatively: name the package"
            module = node.module or ""
            for alias in node.names:
                whole = f"{module}.{alias.name}".replace(".", "/")
                is_module = (ROOT / f"{whole}.py").exists() or (ROOT / whole).is_dir()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_whom_they_may_know(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for line, name in imported(path)
        if name.split(".")[0] in set(ROOMS) - ROOMS[room]
    ]
    assert not wrong


def row(module: str) -> int:
    found = [number for number, names in enumerate(PYRAMID) if module in names]
    assert found, f"amago2/{module.replace('.', '/')}.py has no place in the pyramid: give it one"
    return found[0]


def test_amago2_imports_downwards_only() -> None:
    wrong = []
    for path in modules("amago2"):
        module = ".".join(path.relative_to(ROOT / "amago2").with_suffix("").parts)
        if path.name in ("__init__.py", "__main__.py"):
            continue
        for line, name in imported(path):
            if name.startswith("amago2.") and row(name.removeprefix("amago2.")) <= row(module):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_figures_and_tables_read_neither_checkpoint_nor_environment() -> None:
    tools = r"amago2\.(agent|checkpoint|collect|evaluate|learn|replay|train|vector_env)\b|envs\b"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for room in ("workflow/figures", "workflow/tables")
        for path in modules(room)
        for line, name in imported(path)
        if re.match(tools, name)
    ]
    assert not wrong


def heavy_after(code: str) -> set[str]:
    """Which heavy libraries a fresh Python has loaded after some imports."""
    code += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


def test_the_configuration_loads_no_heavy_library() -> None:
    assert not heavy_after("import amago2.config.schema")


def test_the_dag_is_read_without_pytorch() -> None:
    files = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in files if path.exists())
    ours = re.findall(r"^(?:from|import) ((?:amago2|envs|workflow)[\w.]*)", text, re.MULTILINE)
    assert "torch" not in heavy_after("\n".join(f"import {name}" for name in ours))
