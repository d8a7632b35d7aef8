"""The make targets: what they pass on, what they remove, and that their exit codes are honest."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from workflow.setup import locks
from workflow.setup.environment import PYTHONS

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("ruff", "mypy", "lint-imports", "snakemake", "snakefmt", "python")

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a fresh shell, whatever make runs these tests."""
    ours = ("MAKE", "MFLAGS", "BUDGET", "BENCHMARK", "SEEDS", "EXPERIMENT", "TORCH", "PYTHON")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile beside an environment in which every tool succeeds."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for tool in TOOLS:
        script(tmp_path, tool, 0)
    return tmp_path


def script(checkout: Path, tool: str, code: int) -> None:
    path = checkout / ".venv" / "bin" / tool
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)


def test_without_a_target_make_explains_itself() -> None:
    done = make(ROOT)
    assert done.returncode == 0
    for word in ("make setup", "make reproduce", "make test", "BUDGET="):
        assert word in done.stdout


def test_options_are_passed_on() -> None:
    options = ["BUDGET=mini", "BENCHMARK=popgym", "SEEDS=2", "EXPERIMENT=fig05"]
    words = make(ROOT, "-n", "reproduce", *options).stdout.split()
    tail = ["--budget", "mini", "--benchmark", "popgym", "--seeds", "2", "--experiment", "fig05"]
    assert words[-len(tail) :] == tail
    assert make(ROOT, "-n", "plan").stdout.split()[-2:] == ["--budget", "smoke"]


def test_verify_is_of_a_budget() -> None:
    assert make(ROOT, "-n", "verify", "BUDGET=mini").stdout.split()[-2:] == ["--budget", "mini"]
    repeat = make(ROOT, "-n", "repeat", "BUDGET=mini", "SHARE=0.2").stdout.split()
    assert repeat[-4:] == ["--budget", "mini", "--share", "0.2"]


def test_the_browser_is_installed_only_where_it_is_missing(checkout: Path) -> None:
    tools = checkout / "tools"
    tools.mkdir()
    for tool in ("chromium", "chromedriver", "apt-get", "true"):
        (tools / tool).write_text(f"#!/bin/sh\necho {tool} called\n")
        (tools / tool).chmod(0o755)
    said = make(checkout, "test-browser", "PYTHON=true", f"PATH={tools}")
    assert (said.returncode, "apt-get called" in said.stdout) == (0, False)
    (tools / "chromedriver").unlink()
    said = make(checkout, "test-browser", "PYTHON=true", f"PATH={tools}")
    assert "apt-get called" in said.stdout


@pytest.mark.parametrize("name", ["gpu", "docker", "slurm"])
def test_what_not_every_machine_has_is_a_target_of_its_own(name: str) -> None:
    words = make(ROOT, "-n", f"test-{name}", "EXPERIMENT=popgym").stdout.split()
    assert words[-4:] == ["pytest", "-m", name, f"tests/{name}"]
    assert ("AMAGO2_TEST_EXPERIMENT=popgym" in words) == (name == "docker")


@pytest.mark.parametrize("target", ["figures", "tables"])
def test_figures_and_tables_take_the_same_options(target: str) -> None:
    words = make(ROOT, "-n", target, "SEEDS=1", "EXPERIMENT=fig05").stdout.split()
    options = ["--budget", "smoke", "--seeds", "1", "--experiment", "fig05"]
    assert words[-9:] == ["-m", "workflow", target, *options]


def test_a_missing_python_is_named_in_a_sentence() -> None:
    done = make(ROOT, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "install 3.11, 3.12 or 3.13" in done.stderr


def test_the_environments_own_python_comes_first(checkout: Path) -> None:
    own = make(checkout, "-n", "setup").stdout
    assert ".venv/bin/python -m workflow.setup install" in own
    (checkout / ".venv" / "bin" / "python").write_text("broken")
    other = make(checkout, "-n", "setup").stdout
    assert re.search(r"python3\S* -m workflow.setup install", other)
    assert "-m workflow.setup" in make(checkout, "-n", "setup", "PYTHON=mine").stdout
    for python in map(locks.dotted, PYTHONS):
        assert f" python{python}" in (ROOT / "Makefile").read_text()


def test_make_test_succeeds_if_every_part_does(checkout: Path) -> None:
    done = make(checkout, "test", "PYTHON=true")
    assert done.returncode == 0
    assert "not run here: make learn-check" in done.stdout
    assert "make test-browser" in done.stdout
    assert "make test-docker and make test-slurm" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_make_test_fails_if_any_part_does_and_runs_the_others(checkout: Path, tool: str) -> None:
    script(checkout, tool, 5)
    done = make(checkout, "test", "PYTHON=true")
    assert done.returncode != 0
    assert "make test: FAILED" in done.stderr
    assert all(f"== {other}" in done.stdout for other in TOOLS if other != "python")


@pytest.mark.parametrize("target", ["setup", "test", "reproduce", "figures"])
def test_nothing_runs_on_a_failed_set_up(checkout: Path, target: str) -> None:
    done = make(checkout, target, "PYTHON=false")
    assert done.returncode != 0
    assert "==" not in done.stdout


def test_clean_and_distclean_are_set_ups() -> None:
    assert make(ROOT, "-n", "clean").stdout.split()[-3:] == ["-m", "workflow.setup", "clean"]
    assert make(ROOT, "-n", "distclean").stdout.split()[-2:] == ["clean", "--all"]
