"""CONTRIBUTING.md: its steps, carried out on a copy of the project, do what it says."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.workflow.project import environment

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
COPIED = ("amago2", "envs", "workflow", "params", "tests")
BLOCK = re.compile(r"^( *)```(?:python|yaml)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEAD = re.compile(r"# (\S+?)(, at the end)?\n")


class Step(NamedTuple):
    """A block of the page."""

    path: str
    appended: bool
    text: str


def steps() -> list[Step]:
    """The blocks of the page, which say in their first line where they go."""
    found = []
    for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        block = textwrap.dedent(match[2])
        head = HEAD.match(block)
        assert head, f"this block does not say which file it goes to:\n{block}"
        found.append(Step(head[1], bool(head[2]), block[head.end() :]))
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project on which the steps have been carried out."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for step in steps():
        path = folder / step.path
        assert path.exists() == step.appended, step.path
        separator = "\n\n" if path.suffix == ".py" else ""
        before = path.read_text(encoding="utf-8") + separator if step.appended else ""
        path.write_text(before + step.text, encoding="utf-8")
    yield folder
    shutil.rmtree(folder)


def run(folder: Path, *module: str) -> str:
    """Run a module in the project; its output."""
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(project: Path) -> dict[str, Any]:
    """What the project plans and draws."""
    contents: dict[str, Any] = json.loads(run(project, "tests.contributed"))
    return contents


def test_benchmark_variant_and_experiment_are_planned(found: dict[str, Any]) -> None:
    runs = ["exponential_filter", "ind_actor_ind_critic", "ind_actor_ind_critic"]
    assert found["runs"] == [f"corridor/{variant}" for variant in runs]
    assert "data/corridor" in found["targets"]


def test_figures_and_table_are_planned_and_drawn(found: dict[str, Any]) -> None:
    wanted = {"figures/corridor", "figures/corridor_bars", "tables/corridor_lengths"}
    assert wanted <= set(found["targets"])
    for name, endings in (
        ("corridor", ("pdf", "png", "svg")),
        ("corridor_bars", ("pdf", "png", "svg")),
        ("corridor_lengths", ("csv", "md", "tex")),
    ):
        assert {f"{name}.{ending}" for ending in endings} <= set(found["drawn"])


def test_claim_is_read(found: dict[str, Any]) -> None:
    assert found["claims"][-1] == "corridor_filter"


def test_baseline_is_resolved(found: dict[str, Any]) -> None:
    assert found["trainer"] == ["workflow.baselines.dqn"]
    assert found["baseline"]["dqn"]["batch_size"] == 64
    assert "agent" not in found["baseline"]


def test_environment_passes_its_own_test(project: Path) -> None:
    said = run(project, "pytest", "-q", "-n", "0", "tests/envs/test_corridor.py")
    assert "1 passed" in said


def test_code_of_the_page_has_the_style_it_asks_for(project: Path) -> None:
    paths = [step.path for step in steps() if step.path.endswith(".py")]
    run(project, "ruff", "check", "--no-cache", *paths)
    run(project, "ruff", "format", "--check", "--no-cache", *paths)


def test_files_and_targets_that_it_names_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    created = {step.path for step in steps()}
    paths = set(re.findall(r"`((?:amago2|envs|workflow|params|tests|docs)/[\w./]+)`", page))
    paths |= set(re.findall(r"\]\(([\w./]+)\)", page))
    missing = {path for path in paths - created if not (ROOT / path).exists()}
    assert missing <= {"workflow/baselines/dqn.py"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:`|^ *)make ([a-z-]+)", page, re.MULTILINE)) <= targets
