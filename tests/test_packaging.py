"""The locks: nothing of the machine that made them, all that our code imports. The wheel: ours."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from workflow.setup.environment import LOCKS, TORCH
from workflow.setup.locks import pins

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE, CPU, CUDA = (
    pins((LOCKS / f"{name}.lock").read_text()) for name in ("base", "torch-cpu", "torch-cuda")
)
LINE = re.compile(
    r"#.*make lock.*|[a-z0-9-]+={2,3}[\w.+!]+( ; python_full_version < '[\d.]+')? \\"
    r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""
SCRIPT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
from amago2.cli import main
main()
"""
"""The wheel's console script, without the checkout that the environment of these tests links to."""
TINY = """
env: {entry_point: "envs.return_scale:ReturnScale", kwargs: {scales: [1]}}
agent: {actor: filtered_imitation, critic: two_hot, head_hidden_sizes: [16], discounts: [0.9]}
timestep_encoder: {hidden_sizes: [16], output_size: 16}
trajectory_encoder: {context_length: 10, width: 16, layers: 1, heads: 2, feedforward_size: 16}
learner: {batch_size: 2, updates_per_epoch: 1}
collector: {actors: 2, steps_per_epoch: 10, epochs: 1}
replay: {capacity: 100}
evaluation: {every: 1, rollouts: 1, final_rollouts: 1}
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*extras: str) -> dict[str, Requirement]:
    """What the project and some of its extras ask for, by name; `amago2[...]` resolved."""
    found: dict[str, Requirement] = {}
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
    trackers = {"wandb", "mlflow"}  # hundreds of megabytes, for whoever asks for one by name
    wanted = requirements(*PROJECT["optional-dependencies"].keys() - trackers)
    locked = BASE | CPU
    assert set(wanted) <= set(locked)
    assert [name for name, wish in wanted.items() if locked[name] not in wish.specifier] == []
    assert TORCH in wanted["torch"].specifier


@pytest.mark.parametrize(
    ("room", "extras"),
    [
        ("amago2", ("video", "minari")),
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


def test_the_sdist_leaves_the_tests_out() -> None:
    """Which setuptools would take some of, without the modules that they import."""
    assert "prune tests" in (ROOT / "MANIFEST.in").read_text().splitlines()


def test_the_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert "2411.11188" in str(citation["references"])


def test_the_workflow_catalog_is_told_what_the_snakefile_has() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    snakefiles = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in snakefiles)
    has = {
        name: f"\n{word}:" in text
        for name, word in (("conda", "conda"), ("apptainer", "container"))
    }
    deployment = usage["software-stack-deployment"]
    assert {name: deployment[name] for name in has} == has
    assert usage["report"] == ("report(" in text)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    sources, unpacked = folder / "sources", folder / "unpacked"
    for name in ("amago2", "envs", "workflow"):
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, sources / name, ignore=leave_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    build = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(build, cwd=sources, capture_output=True, text=True, check=True)
    zipfile.ZipFile(folder / done.stdout.split()[-1]).extractall(unpacked)
    return unpacked


def test_the_wheel_holds_the_agent_alone_with_its_types(wheel: Path) -> None:
    assert {path.name.partition("-")[0] for path in wheel.iterdir()} == {"amago2"}
    own = {path.relative_to(ROOT) for path in (ROOT / "amago2").rglob("*.py")}
    assert own == {path.relative_to(wheel) for path in (wheel / "amago2").rglob("*.py")}
    assert (wheel / "amago2" / "py.typed").exists()


def test_the_benchmarks_are_found_in_a_checkout_and_nowhere_else(
    wheel: Path, tmp_path: Path
) -> None:
    script, config = tmp_path / "amago2", tmp_path / "tiny.yaml"
    script.write_text(SCRIPT)
    config.write_text(TINY)

    def train(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            str(script),
            "train",
            str(config),
            "--out",
            str(tmp_path / "run"),
        ]
        environment = {**os.environ, "PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    elsewhere = train(tmp_path)
    assert (elsewhere.returncode, "cannot import envs" in elsewhere.stderr) == (2, True)
    checkout = train(ROOT)
    assert checkout.returncode == 0, checkout.stderr
