"""Runs that were damaged are named before anything is made, and nothing of them is deleted."""

from pathlib import Path

import pytest

from amago2.errors import RunError
from tests.workflow import project
from workflow.dag.plan import Dag
from workflow.dag.runs import ARTIFACTS, Run
from workflow.execute import checks


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dag:
    """Of a project with two finished runs."""
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    for run in list(project.the_plan().runs.values())[:2]:
        project.finish(run, artifacts=ARTIFACTS)
    return project.the_plan()


def finished(dag: Dag) -> list[Run]:
    return [run for run in dag.runs.values() if run.finished]


def test_runs_that_are_whole(dag: Dag) -> None:
    checks.check_runs(dag)


@pytest.mark.parametrize(
    "file", ["evaluations.csv", "config.yaml", "record.json", "checkpoint/data", "replay/data"]
)
def test_every_damaged_run_is_named(dag: Dag, file: str) -> None:
    runs = finished(dag)
    before = set(dag.results.rglob("*"))
    for run in runs:
        path = run.folder / file
        path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(RunError) as caught:
        checks.check_runs(dag)
    first, second, advice = str(caught.value).splitlines()
    assert str(runs[0].folder) in first
    assert str(runs[1].folder) in second
    assert Path(file).name in first
    assert advice == checks.RESTORE
    assert set(dag.results.rglob("*")) == before


def test_what_is_no_file_is_named(dag: Dag) -> None:
    run, other = finished(dag)
    (run.folder / "metrics.csv").unlink()
    (run.folder / "metrics.csv").mkdir()
    (other.folder / "metrics.csv").unlink()
    (other.folder / "metrics.csv").symlink_to("metrics.csv")
    with pytest.raises(RunError) as caught:
        checks.check_runs(dag)
    said = str(caught.value).splitlines()
    assert said[0] == f"{run.folder}/metrics.csv: is a folder; it must be a regular file"
    assert said[1].startswith(f"{other.folder}/metrics.csv: Too many levels of symbolic links")


def test_what_was_not_pulled_is_no_damage_and_large_artifacts_are_not_read(
    dag: Dag, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = finished(dag)
    (run.folder / "replay" / "data").unlink()
    (run.folder / "replay").rmdir()
    checks.check_runs(dag)
    (other.folder / "replay" / "data").write_text("damaged")
    monkeypatch.setattr(checks, "QUICK_BYTES", 0)
    checks.check_runs(dag)
