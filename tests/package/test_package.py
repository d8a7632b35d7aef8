"""The wheel and the sdist, built as for an index: checked, and installed where nothing else is."""

import os
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from workflow.benchmarks.lookup import benchmarks
from workflow.setup import environment
from workflow.setup.locks import OVERRIDE
from workflow.setup.sources import pip_configuration, uv_environment, uv_options
from workflow.setup.tools import VENV_NAME

pytestmark = pytest.mark.package
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UV = environment.VENV / "bin" / "uv"
TOOLS = ROOT / VENV_NAME / "bin"
CONFIG = """
env: {entry_point: "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps: 20}
agent: {actor: filtered_imitation, critic: two_hot, head_hidden_sizes: [16], discounts: [0.9]}
timestep_encoder: {hidden_sizes: [16], output_size: 16}
trajectory_encoder: {context_length: 10, width: 16, layers: 1, heads: 2, feedforward_size: 16}
learner: {batch_size: 2, updates_per_epoch: 1}
collector: {actors: 2, steps_per_epoch: 30, epochs: 1}
replay: {capacity: 100}
evaluation: {every: 1, rollouts: 1, final_rollouts: 1}
"""
SIMULATORS = {own.simulator.extra: own.simulator for own in benchmarks().values() if own.simulator}


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a command that must succeed, outside of this project's environment; its output."""
    ours = ("PYTHON", "VIRTUAL_ENV")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    env = uv_environment(pip_configuration(environment.PYTHON)) | clean
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, the wheel built from the sdist, as an index's users would."""
    folder = tmp_path_factory.mktemp("package")
    sources = folder / "sources"
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, sources / name)
    run(TOOLS / "python", "-m", "build", "--no-isolation", "--outdir", folder / "dist", sources)
    return folder / "dist"


def only(dist: Path, pattern: str) -> Path:
    (path,) = dist.glob(pattern)
    return path


def empty(folder: Path) -> Path:
    """An environment with nothing in it; its Python."""
    run(UV, "venv", "--quiet", "--python", environment.PYTHON, folder)
    return folder / "bin" / "python"


def install(python: Path, *what: str, locks: Sequence[str] = ("base", "torch-cpu")) -> None:
    options = uv_options(pip_configuration(environment.PYTHON))
    for name in locks:
        options += ["--constraints", str(without_hashes(python.parent, name))]
    override = python.parent / "override.txt"
    override.write_text(OVERRIDE)
    options += ["--override", str(override)]
    run(UV, "pip", "install", "--quiet", "--python", python, *options, *what)


def without_hashes(folder: Path, name: str) -> Path:
    """A lock as versions alone, so that the CPU build of PyTorch is taken."""
    lines = (environment.LOCKS / f"{name}.lock").read_text().splitlines()
    path = folder / f"{name}.txt"
    path.write_text("\n".join(line.removesuffix(" \\") for line in lines if "==" in line))
    return path


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and what it asks for, alone."""
    python = empty(tmp_path_factory.mktemp("wheel") / "venv")
    install(python, str(only(dist, "*.whl")))
    return python


def metadata(dist: Path) -> Message:
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def test_both_pass_what_indexes_check(dist: Path) -> None:
    paths = [only(dist, "*.whl"), only(dist, "*.tar.gz")]
    assert run(TOOLS / "twine", "check", "--strict", *paths).count("PASSED") == 2
    assert "OK" in run(TOOLS / "check-wheel-contents", paths[0])


def test_the_metadata_say_what_it_is(dist: Path) -> None:
    said = metadata(dist)
    assert said["License-Expression"] == "MIT"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said["Description-Content-Type"] == "text/markdown"
    assert set(said.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert "Paper, https://arxiv.org/abs/2411.11188" in (said.get_all("Project-URL") or ())
    assert "Typing :: Typed" in (said.get_all("Classifier") or ())


def test_the_sdist_has_what_the_wheel_is_built_from_and_no_results(dist: Path) -> None:
    with tarfile.open(only(dist, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "amago2/py.typed"} <= names
    others = ("results", "envs", "workflow", "tests")
    assert not {name for name in names if name.startswith(others)}


def test_it_trains_where_nothing_else_is_installed(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    amago2 = installed.with_name("amago2")
    run(amago2, "train", "config.yaml", "--out", "run", folder=tmp_path)
    given = ["run", "--rollouts", "1", "--allow-env", "gymnasium.envs.classic_control"]
    assert "return" in run(amago2, "evaluate", *given, folder=tmp_path)
    where = run(installed, "-c", "import amago2; print(amago2.__file__)", folder=tmp_path)
    assert "site-packages" in where


def test_on_a_cpu_it_needs_less_than_a_gigabyte(installed: Path) -> None:
    venv = installed.parents[1]
    used = sum(path.lstat().st_size for path in venv.rglob("*") if path.is_file())
    print(f"installed: {used / 1e6:.0f} MB")
    assert used < 10**9


def test_the_sdist_installs_too(dist: Path, tmp_path: Path) -> None:
    python = empty(tmp_path / "venv")
    install(python, "--no-deps", str(only(dist, "*.tar.gz")))
    assert "amago2" in run(UV, "pip", "list", "--python", python)


def test_extras_install_what_they_say(dist: Path, tmp_path: Path) -> None:
    python = empty(tmp_path / "venv")
    install(python, f"{only(dist, '*.whl')}[benchmarks]")
    modules = sorted({own.module for own in SIMULATORS.values()} | {"cv2"})
    for module in modules:
        run(python, "-c", f"import {module}", folder=tmp_path)


def test_wandb_and_mlflow_are_told_of_a_run(dist: Path, tmp_path: Path) -> None:
    """In versions of their own choice: MLflow wants an older pandas than the pipeline has."""
    python = empty(tmp_path / "venv")
    wanted = f"{only(dist, '*.whl')}[wandb,mlflow]", "pytest", "hypothesis"
    install(python, *wanted, locks=["torch-cpu"])
    quick = "-q", "-p", "no:cacheprovider"
    assert "2 passed" in run(python, "-m", "pytest", *quick, "tests/package/trackers.py")


@pytest.mark.parametrize("extra", sorted(SIMULATORS))
def test_an_extra_names_its_simulator(dist: Path, extra: str) -> None:
    wanted = metadata(dist).get_all("Requires-Dist") or ()
    own = [line for line in wanted if f'extra == "{extra}"' in line]
    assert any(line.startswith(SIMULATORS[extra].package) for line in own)
