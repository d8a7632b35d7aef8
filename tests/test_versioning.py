"""What git keeps and what it leaves to DVC."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = "results/smoke/runs/popgym/ind_actor_ind_critic/seed0-12345678"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository with our rules."""
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", folder], check=True)
    shutil.copy(ROOT / ".gitignore", folder)
    return folder


def ignored(repository: Path, name: str) -> bool:
    command = ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-q", name]
    return subprocess.run(command, cwd=repository).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        f"{RUN}/checkpoint/model.safetensors",
        f"{RUN}/replay/0.bin",
        f"{RUN}/tensorboard/events",
        "results/smoke/.scratch/12345678/metrics.csv",
        "results/smoke/.logs/train.log",
        ".venv/bin/python",
        ".dvc-storage/files/md5/00/0",
        "envs/__pycache__/popgym.pyc",
    ],
)
def test_git_ignores_artifacts_scratch_and_caches(repository: Path, name: str) -> None:
    assert ignored(repository, name)


@pytest.mark.parametrize(
    "name",
    [
        f"{RUN}/checkpoint.dvc",
        f"{RUN}/replay.dvc",
        f"{RUN}/record.json",
        "results/smoke/figures/fig05.svg",
        "results/smoke/tables/table1.csv",
        "results/mini/manifest.json",
        "amago2/replay/buffer.py",
        "amago2/training/checkpoint.py",
    ],
)
def test_git_keeps_pointers_records_and_small_results(repository: Path, name: str) -> None:
    assert not ignored(repository, name)


def test_the_default_dvc_remote_is_a_folder_that_git_ignores(repository: Path) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    url = config.get(f"'remote \"{config.get('core', 'remote')}\"'", "url")
    folder = (repository / ".dvc" / url).resolve().relative_to(repository.resolve())
    assert ignored(repository, f"{folder}/files")
    assert not config.getboolean("core", "analytics")
    assert not config.getboolean("core", "autostage")
