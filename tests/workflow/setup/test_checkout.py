"""What must be true of the checkout before anything is trained: each lack has its remedy."""

import os
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from tests.workflow import project
from workflow.cli.app import main
from workflow.execute import checks
from workflow.setup import checkout

RUN = Path("results/micro/runs/popgym")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with a commit."""
    place = tmp_path / "checkout"
    (place / ".dvc").mkdir(parents=True)
    (place / ".dvc" / "config").touch()
    project.git(place, "init", "-q", "-b", "main")
    project.commit(place)
    monkeypatch.chdir(place)
    monkeypatch.setattr(checkout, "ROOT", place)
    return place


def test_a_checkout_as_it_should_be(folder: Path) -> None:
    found = [checkout.git(), checkout.pointers(), checkout.folders([RUN]), checkout.cache()]
    assert [finding.mark for finding in found] == ["ok"] * 4


def test_a_folder_of_a_larger_repository_will_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "inner"
    (folder / ".dvc").rename(folder / "dvc")
    (inner / ".dvc").mkdir(parents=True)
    (inner / ".dvc" / "config").touch()
    monkeypatch.setattr(checkout, "ROOT", inner)
    assert checkout.git().mark == checkout.pointers().mark == "ok"


def test_a_folder_that_is_no_repository(folder: Path) -> None:
    (folder / ".git").rename(folder / "git")
    finding = checkout.git()
    assert finding.found.startswith("not a git repository (or any ")
    assert "`git init`" in finding.remedy


def test_a_repository_without_a_commit(folder: Path) -> None:
    project.git(folder, "update-ref", "-d", "HEAD")
    assert checkout.git().found == "the repository has no commit yet"


def test_a_folder_of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    finding = checkout.git()
    assert finding.found == "git refuses this folder, as it belongs to another user"
    assert f"safe.directory {folder}" in finding.remedy


def test_git_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    finding = checkout.git()
    assert (finding.mark, finding.found) == ("missing", "not installed")
    assert "apt-get install git" in finding.remedy


def test_the_repository_of_a_hook_is_not_taken_for_this_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert checkout.git().mark == "ok"


@pytest.mark.parametrize(
    ("patterns", "mark"),
    [("results/", "missing"), ("*.dvc", "missing"), ("*.dvc\n!*.dvc", "ok"), ("checkpoint/", "ok")],
)
def test_pointers_that_git_ignores(folder: Path, patterns: str, mark: str) -> None:
    (folder / ".gitignore").write_text(f"{patterns}\n")
    finding = checkout.pointers()
    assert finding.mark == mark
    assert (f"{patterns} in line 1 of .gitignore" in finding.found) == (mark == "missing")


def test_a_checkout_without_dvc(folder: Path) -> None:
    (folder / ".dvc" / "config").unlink()
    assert "dvc init" in checkout.pointers().remedy


def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/1")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    finding = checkout.cache()
    assert finding.found.startswith("/proc/1/.cache cannot be written (")
    assert "HOME or XDG_CACHE_HOME" in finding.remedy


def become_a_link(path: Path) -> None:
    path.parent.joinpath("elsewhere").mkdir()
    path.symlink_to("elsewhere")


def become_a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("results", become_a_link, "results is a link, and neither git nor DVC"),
        ("results/micro", become_a_link, "results/micro is a link"),
        ("results/micro/runs/popgym", become_a_link, "results/micro/runs/popgym is a link"),
        ("results/micro/.scratch", become_a_link, ""),
        ("results/micro/.scratch", become_a_dangling_link, ".scratch is a dangling link"),
        ("results/micro/.logs", Path.touch, "results/micro/.logs is no folder"),
        ("results/micro/runs", Path.touch, "results/micro/runs is no folder"),
        (".snakemake", Path.touch, ".snakemake is no folder"),
    ],
)
def test_what_is_in_the_way_of_a_folder(folder: Path, path: str, kind: object, says: str) -> None:
    assert callable(kind)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kind(Path(path))
    wanted = [
        RUN,
        Path("results/micro/.scratch/abc"),
        Path("results/micro/.logs"),
        Path(".snakemake"),
    ]
    for finding in (checkout.folders(wanted), checkout.folders()):
        assert finding.mark == ("missing" if says else "ok")
        assert says in finding.found


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    Path("results").mkdir(mode=0o500)
    assert "results cannot be written" in checkout.folders([RUN]).found


def test_a_folder_on_a_read_only_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RUN.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "runs")
    assert checkout.folders([RUN]).found == "results/micro/runs cannot be written"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of which nothing is made."""
    place = project.copy_project(tmp_path / "project")
    project.enter(place, monkeypatch)
    monkeypatch.setattr(checks, "check_drawing", None)  # it would be called too late
    return place


def test_it_is_said_before_anything_is_trained(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = project.the_plan()
    checks.check_checkout(dag)
    (small / ".git").rename(small / "git")
    with pytest.raises(ConfigError, match=r"^git: not a git repository .*; work in a clone"):
        checks.check_checkout(dag)
    assert main(["figures", "--budget", "micro"]) == 2
    assert capsys.readouterr().err.startswith("git: not a git repository")
    (small / "git").rename(small / ".git")
    figure = Path("results/micro/figures/fig05.svg")
    figure.mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"^{figure}: is a folder where a file belongs"):
        checks.check_checkout(dag)
    figure.rmdir()
    dag.targets[0].log.parent.parent.mkdir()
    dag.targets[0].log.parent.touch()
    with pytest.raises(ConfigError, match=r"^folders: results/micro/\.logs/data is no folder"):
        checks.check_checkout(dag)
    dag.targets[0].log.parent.unlink()
    Path(".snakemake").mkdir()
    Path(".snakemake/metadata").touch()
    with pytest.raises(ConfigError, match=r"^folders: \.snakemake/metadata is no folder; move it"):
        checks.check_checkout(dag)
