"""Results in the repository: what a clone has of them, by DVC and no remote but its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from tests.workflow import project
from tests.workflow.project import wanted
from workflow.cli.app import main
from workflow.config.experiments import Selection
from workflow.dag import manifest, provenance, published
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.plan import Dag, plan
from workflow.dag.runs import ARTIFACTS, Run
from workflow.docs import results
from workflow.dvc import add, pull
from workflow.execute import part, publish, verify
from workflow.execute import reproduce as reproduction
from workflow.report import model_card

RESULTS = Path("results/micro")
SELECTION = Selection.parse({"budget": "micro", "experiment": "ext_return_scale"})
BEST = [
    "return_scale/dep_actor_ind_critic/seed1",
    "return_scale/ind_actor_ind_critic/seed0",
]


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC without a new Python for each of its commands, which takes a second."""
    for module in (add, pull, publish):
        monkeypatch.setattr(module, "dvc", lambda *words, check=True: project.dvc(*words))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which one of two experiments is made and versioned, as made up."""
    folder = project.copy_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        patch.setattr(add, "dvc", lambda *words, check=True: project.dvc(*words))
        runs = selected()
        for run in runs:
            project.finish(run, artifacts=ARTIFACTS)
        project.pretend(experiment="ext_return_scale")
        scores = [
            f"ext_return_scale,return_scale,{run.config.variant},{cell},{run.config.seed},"
            f"{run.config.hash},train,task0_x1,0,10,attempt_return,{value},1"
            for run, cell, value in zip(
                runs, [*["scaled"] * 4, *["equal"] * 2], (0.9, 0.8, 0.1, 0.2, 1, 1), strict=True
            )
        ]
        head = "experiment,benchmark,variant,cell,seed,run,split,task,attempt,step,metric,value"
        table = RESULTS / "tables" / "data" / "ext_return_scale.evaluations.csv"
        table.write_text("\n".join([f"{head},rollouts", *scores, ""]))
        make_again()
    project.commit(folder)
    return folder


def selected() -> list[Run]:
    return [
        run for run in project.the_plan(experiment="ext_return_scale").runs.values() if run.selected
    ]


def make_again() -> None:
    """What Snakemake's jobs would make, as made up; but the versions are real."""
    dag = project.the_plan(experiment="ext_return_scale")
    for target in dag.targets:
        if target.kind == "version":
            add.version(RESULTS, target.fingerprint.inputs)
        if target.kind == "manifest":
            manifest.write(RESULTS)
        provenance.write_record(target.fingerprint)


@pytest.fixture
def project_(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it of one's own."""
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    project.enter(tmp_path / "project", monkeypatch)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def published_(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another copy, after it was published."""
    folder = tmp_path_factory.mktemp("published") / "project"
    shutil.copytree(made, folder, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        for module in (add, publish):
            patch.setattr(module, "dvc", lambda *words, check=True: project.dvc(*words))
        publish.publish(SELECTION, ["ext_return_scale"])
        make_again()
    project.commit(folder)
    return folder


@pytest.fixture
def clone(published_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of that, with nothing else of its disk."""
    project.git(published_, "clone", "-q", str(published_), str(tmp_path / "clone"))
    project.enter(tmp_path / "clone", monkeypatch)
    return tmp_path / "clone"


def names(paths: list[Path]) -> list[str]:
    return sorted("/".join(path.parts[-4:-1]).rpartition("-")[0] for path in paths)


def test_a_clone_has_all_that_its_pointers_name(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(list(RESULTS.glob("runs/*/*/*/*.dvc"))) == BEST
    assert names(list(RESULTS.glob(f"runs/*/*/*/{model_card.NAME}"))) == BEST
    assert wanted(experiment="ext_return_scale") == (set(), set())
    project.dvc("pull")
    folders = sorted(RESULTS.glob("runs/*/*/*/checkpoint"))
    assert names(folders) == BEST
    assert project.git(clone, "status", "--porcelain") == ""
    assert wanted(experiment="ext_return_scale") == (set(), set())
    for folder in folders:
        shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    assert main(["pull", *(str(folder.parent) for folder in folders)]) == 0
    assert "every SHA-256 as recorded" in capsys.readouterr().out
    assert sorted(RESULTS.glob("runs/*/*/*/checkpoint")) == folders
    monkeypatch.setattr(verify, "DRAWN", ())  # made up
    assert verify.verify("micro", Path("results"), Path("params"), lambda _: None) == []


def test_a_part_that_is_missing_is_said_to_be_git_s(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(published.FOLDER)
    (run, *_) = (path.parent for path in RESULTS.glob("runs/*/*/*/checkpoint.dvc"))
    assert main(["pull", str(run)]) == 1
    assert "`git checkout results/published`" in capsys.readouterr().err


def test_own_runs_are_versioned_as_ever(clone: Path) -> None:
    """In the default remote, replay and all; those published keep what they have."""
    (other, *_) = (r for r in project.the_plan().runs.values() if r.config.benchmark == "popgym")
    project.finish(other, artifacts=ARTIFACTS)
    dag = project.the_plan()
    dag.write()
    add.version(RESULTS, Fingerprint.load(dag.of("version")[0].fingerprint_file).inputs)
    assert all(pointer.is_file() for pointer in other.pointers)
    assert len(other.pointers) == 2
    assert names(list(RESULTS.glob("runs/return_scale/*/*/*.dvc"))) == BEST
    stored = [path for path in Path(".dvc-storage").rglob("*") if path.is_file()]
    assert len(stored) == 4

    again = next(run for run in selected() if "replay" not in run.artifacts)
    project.finish(again, ended="2026-02-02", artifacts=ARTIFACTS)  # trained by the user
    (again,) = (run for run in selected() if run.name == again.name)
    assert again.artifacts == ARTIFACTS


def test_figures_are_of_what_is_published(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Selection] = []

    def noted(selection: Selection) -> Dag:
        asked.append(selection)
        return plan(selection)

    def succeed(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(part, "plan", noted)
    for check in ("check_checkout", "check_runs", "check_drawing"):
        monkeypatch.setattr(part, check, lambda *_: None)
    monkeypatch.setattr(subprocess, "run", succeed)
    for options in ({}, {"experiment": "popgym"}):
        assert part.make(Selection.parse({"budget": "micro", **options}), "figures") == 0
    assert [each.experiments for each in asked] == [("ext_return_scale",), ("popgym",)]
    assert "of what is published, ext_return_scale" in capsys.readouterr().out


def test_publishing_again_leaves_no_object_that_nothing_names(project_: Path) -> None:
    def objects() -> set[Path]:
        return {path for path in published.FOLDER.rglob("*") if path.is_file()}

    publish.publish(SELECTION, ["ext_return_scale"])
    first = objects()
    assert len(first) == 4
    publish.publish(SELECTION, ["ext_return_scale"])
    assert objects() == first
    publish.publish(SELECTION, [])
    assert objects() == set()
    assert not list(RESULTS.glob("runs/*/*/*/*.dvc"))
    assert len(list(RESULTS.glob("runs/*/*/*/checkpoint"))) == 6


@pytest.mark.parametrize(
    ("limit", "bytes_"), [("LIMIT_BYTES", 100), ("MANY_BYTES", 100)], ids=["all", "one"]
)
def test_too_much_is_refused_before_anything_changes(
    project_: Path, monkeypatch: pytest.MonkeyPatch, limit: str, bytes_: int
) -> None:
    monkeypatch.setattr(publish, limit, bytes_)
    with pytest.raises(ConfigError, match=r"2 checkpoints have 0\.0 MB"):
        publish.publish(SELECTION, ["ext_return_scale"])
    assert project.git(project_, "status", "--porcelain") == ""
    assert not (RESULTS / published.NAME).exists()


def test_only_what_is_there_is_published(
    project_: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["publish", "--budget", "micro", "--experiment"]
    assert main([*command, "popgym"]) == 2
    assert "is not finished; `make reproduce` trains it" in capsys.readouterr().err
    assert main([*command, "ext_return_scale", "--policies", "popgym"]) == 2
    assert "policies: popgym is none of the experiments" in capsys.readouterr().err
    made_anew: list[Selection] = []

    def note(chosen: Selection) -> int:
        made_anew.append(chosen)
        return 0

    monkeypatch.setattr(reproduction, "run", note)
    written: list[str] = []
    monkeypatch.setattr(results, "write", lambda: written.append("pages"))
    assert main([*command, "ext_return_scale", "--policies", "ext_return_scale"]) == 0
    assert (made_anew, written) == ([SELECTION], ["pages"])
    assert capsys.readouterr().out.count("its checkpoint is in the repository") == 2


def test_a_listing_of_others_is_read_with_care(project_: Path) -> None:
    path = RESULTS / published.NAME
    path.write_text('{"checkpoints": ["a/b/seed0-00000000"]}')
    with pytest.raises(ConfigError, match="checkpoints: a/b/seed0-00000000 is none of its runs"):
        published.read(RESULTS)
    path.write_text('{"runs": {"../../x": "0"}}')
    with pytest.raises(ConfigError, match=str(path)):
        published.read(RESULTS)
