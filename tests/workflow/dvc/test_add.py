"""Artifacts of runs under DVC: a pointer each, written once, pullable alone."""

import json
import shutil
from pathlib import Path

import pytest

from amago2.errors import RunError
from tests.workflow import project
from workflow.cli.app import main
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.runs import ARTIFACTS, Run
from workflow.dvc import add as version
from workflow.dvc import results_file as describe

RESULTS = Path("results/micro")
DVC = version.dvc
"""As the pipeline runs it, in a process of its own."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three finished runs and their artifacts."""
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    for run in runs():
        project.finish(run, artifacts=ARTIFACTS)
    return folder


def runs() -> list[Run]:
    return list(project.the_plan().runs.values())[:3]


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC without a new Python for each of its commands, which takes a second."""
    monkeypatch.setattr(version, "dvc", lambda *words, check=True: project.dvc(*words))


def fingerprint_file() -> Path:
    """The fingerprint of what DVC is to version, as Snakemake's job gets it."""
    dag = project.the_plan()
    dag.write()
    (target,) = dag.of("version")
    return target.fingerprint_file


def cached(repository: Path) -> set[str]:
    """Objects in DVC's cache."""
    files = (repository / ".dvc" / "cache" / "files").rglob("*")
    return {path.name for path in files if path.is_file()}


def version_all() -> version.Versions:
    return version.version(RESULTS, Fingerprint.load(fingerprint_file()).inputs)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What DVC was asked to do."""
    asked: list[tuple[str, ...]] = []
    ask = version.dvc

    def note(*arguments: str, check: bool = True) -> str:
        asked.append(arguments)
        return ask(*arguments, check=check)

    monkeypatch.setattr(version, "dvc", note)
    return asked


def test_all_runs_in_one_call_and_each_can_be_pulled_alone(
    repository: Path, calls: list[tuple[str, ...]]
) -> None:
    versions = version_all()
    assert [call[0] for call in calls] == ["add", "config", "push"]
    assert set(versions) == {run.name for run in runs()}
    assert all(pointer.is_file() for run in runs() for pointer in run.pointers)
    assert not list(RESULTS.glob("**/.gitignore"))
    project.commit(repository)
    assert "checkpoint/" not in project.git(repository, "ls-files")

    calls.clear()
    assert version_all() == versions
    assert not calls

    shutil.rmtree(".dvc/cache")
    first, second, _ = runs()
    for run in (first, second):
        for name in ARTIFACTS:
            shutil.rmtree(run.folder / name)
    project.dvc("pull", str(first.folder / "checkpoint.dvc"))
    assert (first.folder / "checkpoint" / "data").read_text() == f"{first.name} checkpoint"
    assert not (first.folder / "replay").exists()
    assert not (second.folder / "checkpoint").exists()
    assert project.git(repository, "status", "--porcelain") == ""


def test_a_run_trained_again_to_the_same_bits_keeps_its_pointers(repository: Path) -> None:
    before = version_all()
    run = runs()[0]
    pointers = [pointer.read_bytes() for pointer in run.pointers]
    shutil.rmtree(run.folder / "checkpoint")
    project.finish(run, ended="2026-02-02", artifacts=ARTIFACTS)
    after = version_all()
    assert [pointer.read_bytes() for pointer in run.pointers] == pointers
    assert before[run.name]["record"] != after[run.name]["record"]
    assert {k: v for k, v in before.items() if k != run.name} == {
        k: v for k, v in after.items() if k != run.name
    }


def test_a_run_trained_again_to_other_bits_gets_new_ones(repository: Path) -> None:
    before = version_all()
    run = runs()[0]
    (run.folder / "replay" / "data").write_text("other")
    project.finish(run, ended="2026-02-02", artifacts=ARTIFACTS, content=False)
    (run.folder / "checkpoint" / "data").write_text("damaged")
    with pytest.raises(RunError, match="checkpoint: data is damaged"):
        version_all()
    (run.folder / "checkpoint" / "data").write_text(f"{run.name} checkpoint")
    after = version_all()
    assert after[run.name]["replay"] != before[run.name]["replay"]
    assert after[run.name]["checkpoint"] == before[run.name]["checkpoint"]


def test_a_pointer_that_was_edited_is_refused(repository: Path) -> None:
    before = version_all()
    run = runs()[0]
    path = run.folder / "replay.dvc"
    text = path.read_text()
    path.write_text(text.replace(str(before[run.name]["replay"]), f"{'0' * 32}.dir"))
    with pytest.raises(
        version.VersioningError, match=rf"^{path}: names 0+\.dir, and .*`git checkout"
    ):
        version_all()
    path.unlink()
    assert version_all() == before
    assert path.read_text() == text


def test_a_folder_of_a_larger_repository_will_do(repository: Path) -> None:
    (repository / ".git").rename(repository.parent / ".git")
    project.commit(repository.parent)
    versions = version_all()
    assert all(named["checkpoint"] for named in versions.values())
    version.record_stage()
    assert project.dvc("status") == "Data and pipelines are up to date."


def test_artifacts_that_was_not_pulled_keeps_its_pointers(
    repository: Path, calls: list[tuple[str, ...]]
) -> None:
    before = version_all()
    for run in runs():
        for name in ARTIFACTS:
            shutil.rmtree(run.folder / name)
    Path("results/micro/versioned.json").unlink()
    calls.clear()
    assert version_all() == before
    assert not calls
    assert json.loads(Path("results/micro/versioned.json").read_text()) == before


def test_replay_can_be_left_out(repository: Path) -> None:
    budget = Path("params/budgets/micro.yaml")
    before = budget.read_text()
    budget.write_text(before.replace("all:\n", "all:\n  checkpoint: {with_replay: false}\n"))
    versions = version_all()
    assert set(versions) == {run.name for run in runs()}
    assert all(named["checkpoint"] and not named["replay"] for named in versions.values())
    assert not list(RESULTS.glob("runs/*/*/*/replay.dvc"))
    budget.write_text(before)
    assert all(named["replay"] for named in version_all().values())


def test_what_dvc_shows(repository: Path) -> None:
    project.pretend()
    for run in project.the_plan().runs.values():
        project.finish(run, artifacts=ARTIFACTS)
    version_all()
    (target,) = (target for target in project.the_plan().targets if target.kind == "describe")
    describe.write(target.fingerprint_file)
    scores = sorted(RESULTS.glob("metrics/*.json"))
    for path in scores:
        path.write_text('{"ind_actor_ind_critic": 0.5, "dep_actor_dep_critic": 0.25}')
    version.record_stage()
    project.commit(repository)
    assert project.dvc("status") == "Data and pipelines are up to date."
    assert project.git(repository, "status", "--porcelain") == ""

    shown = project.dvc("metrics", "show").splitlines()
    assert shown[0].split() == ["Path", "dep_actor_dep_critic", "ind_actor_ind_critic"]
    assert len(shown) == 1 + len(scores) == 4
    assert max(map(len, shown)) < 120
    scores[0].write_text('{"ind_actor_ind_critic": 0.75, "dep_actor_dep_critic": 0.25}')
    assert project.dvc("metrics", "diff").split()[-5:] == [
        scores[0].as_posix(), "ind_actor_ind_critic", "0.5", "0.75", "0.25",
    ]  # fmt: skip
    assert project.dvc("plots", "show").endswith("dvc_plots/index.html")
    page = Path("dvc_plots/index.html").read_text()
    assert all(f"{name}.svg" in page for name in ("fig03", "fig05", "ext_return_scale"))

    path = Path("params/variants/dep_actor_dep_critic.yaml")
    path.write_text(path.read_text() + "learner: {learning_rate: 2.0e-3}\n")
    assert "learner.learning_rate" in project.dvc("params", "diff")
    assert "changed deps" in project.dvc("status")


def test_garbage_is_what_no_pointer_names(repository: Path) -> None:
    version_all()
    before = cached(repository)
    (runs()[0].folder / "replay" / "data").write_text("other")
    project.finish(runs()[0], ended="2026-02-02")
    version_all()
    assert len(cached(repository)) == len(before) + 2  # the file, and the folder's listing
    project.dvc("gc", "--workspace", "--force")
    left = cached(repository)
    assert len(left) == len(before)
    assert len(left - before) == 2
    shutil.rmtree(runs()[0].folder / "replay")
    project.dvc("checkout")
    assert (runs()[0].folder / "replay" / "data").read_text() == "other"


def test_what_goes_wrong_is_said_in_a_sentence(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "dvc", DVC)
    blocked = repository / ".dvc-storage"
    blocked.write_text("a file where the remote's folder should be")
    assert main(["job", "version", str(RESULTS), str(fingerprint_file())]) == 1
    said = capsys.readouterr().err
    assert said.startswith("results/micro: artifacts are not versioned: dvc push failed: ")
    assert "no reason given" not in said
    assert ".dvc-storage" in said
    assert said.count("\n") == 1
    assert not Path("results/micro/versioned.json").exists()
    blocked.unlink()
    assert (
        main(["job", "version", str(RESULTS), str(fingerprint_file())]) == 0
    )  # the next try succeeds

    shutil.rmtree(".dvc")
    Path("results/micro/versioned.json").unlink()
    assert main(["job", "version", str(RESULTS), str(fingerprint_file())]) == 1
    said = capsys.readouterr().err
    assert "there is no .dvc/config in this folder; `git checkout .dvc`, or `dvc init`" in said
