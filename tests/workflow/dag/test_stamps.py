"""What Snakemake makes and what it leaves alone: clocks, failures, single targets, options."""

import os
from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import snakemake_jobs, the_plan, wanted
from workflow.dag.targets import Target

ALL_DRAWN = {"report", "manifest", "describe"}
"""Targets that read every figure and table."""
FUTURE = 4102444800.0
"""2100-01-01."""
FIG03 = Path("results/micro/figures/fig03.svg")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is made, fig03 and what it shows for real."""
    folder = project.copy_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        project.pretend()
        assert snakemake("--force", "data_relative_loss") == 0
        assert snakemake("fig03") == 0
        project.pretend(only_stale=True)
    project.commit(folder)
    return folder


@pytest.fixture
def clone(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone of it."""
    project.git(made, "clone", "-q", str(made), str(tmp_path / "clone"))
    project.enter(tmp_path / "clone", monkeypatch)
    assert wanted() == (set(), set())
    return tmp_path / "clone"


def snakemake(*options: str) -> int:
    """Run Snakemake as a user does; returns its exit code."""
    options = ("--cores", "2", *options, "--config", f"budget={project.BUDGET}")
    return project.run(Path.cwd(), "snakemake", *options).returncode


def target(name: str) -> Target:
    return next(target for target in the_plan().targets if target.name == name)


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def date_everything_in_the_future() -> None:
    for path in sorted(Path.cwd().rglob("*")):
        if ".git" not in path.parts:
            os.utime(path, (FUTURE, FUTURE))


def test_files_dated_in_the_future_stop_nothing(clone: Path) -> None:
    the_plan().write()
    date_everything_in_the_future()
    assert snakemake_jobs() == {}
    edit("params/figures/fig03.yaml", "title: ", "title: Another ")
    date_everything_in_the_future()
    assert snakemake("fig03") == 0
    date_everything_in_the_future()
    assert wanted() == (set(), ALL_DRAWN)
    assert snakemake_jobs("fig03") == {}
    assert snakemake_jobs() == dict.fromkeys(ALL_DRAWN, 1)


def test_a_stamp_exists_exactly_while_its_target_is_up_to_date(clone: Path) -> None:
    dag = the_plan()
    dag.write()
    assert all(each.stamp.exists() for each in dag.targets)
    edit("params/figures/fig03.yaml", "title: ", "title: Another ")
    dag = the_plan()
    dag.write()
    assert {each.name for each in dag.targets if not each.stamp.exists()} == {"fig03"} | ALL_DRAWN


def test_planning_leaves_the_stamp_of_a_job_that_ends_meanwhile(clone: Path) -> None:
    edit("params/figures/fig03.yaml", "title: ", "title: Another ")
    the_plan().write()
    planned = target("fig03")
    planned.stamp.touch()  # by a running Snakemake, which now checks that it is there
    planned.update_stamp()
    assert planned.stamp.exists()
    target("fig03").update_stamp()
    assert not planned.stamp.exists()


def test_one_figure_alone(clone: Path) -> None:
    for name in ("fig03", "fig05"):
        edit(f"params/figures/{name}.yaml", "title: ", "title: Another ")
    assert snakemake_jobs("fig05") == {"fig05": 1}
    Path("results/micro/tables/data/popgym.evaluations.csv").unlink()
    assert snakemake_jobs("fig05") == {"fig05": 1, "data_popgym": 1}


def test_a_dry_run_costs_nothing(clone: Path) -> None:
    edit("params/figures/fig03.yaml", "title: ", "title: Another ")
    assert snakemake_jobs() == {"fig03": 1} | dict.fromkeys(ALL_DRAWN, 1)
    edit("params/figures/fig03.yaml", "title: Another ", "title: ")
    assert wanted() == (set(), set())
    assert snakemake_jobs() == {}
    assert project.git(clone, "status", "--porcelain") == ""


def test_forcing_all_makes_every_target_and_trains_nothing(clone: Path) -> None:
    assert sum(snakemake_jobs("--forceall").values()) == len(the_plan().targets)


def test_a_failed_job_keeps_the_figure_and_is_not_taken_for_a_success(clone: Path) -> None:
    before = FIG03.read_bytes()
    module = Path("workflow/figures/fig03.py")
    text = module.read_text()
    module.write_text(f"{text}\n\nraise RuntimeError('broken')\n")
    assert snakemake("fig03") != 0
    assert FIG03.read_bytes() == before
    module.write_text(text)
    assert wanted() == (set(), {"fig03"} | ALL_DRAWN)
    assert snakemake("fig03") == 0
    assert FIG03.read_bytes() == before
    assert wanted() == (set(), set())


def test_a_job_killed_before_its_record_is_written_runs_again(clone: Path) -> None:
    target("fig03").provenance.unlink()
    assert snakemake_jobs("fig03") == {"fig03": 1}


def test_a_job_killed_before_its_stamp_is_written_does_not(clone: Path) -> None:
    the_plan().write()
    target("fig03").stamp.unlink()
    assert snakemake_jobs("fig03") == {}


def test_a_job_on_a_node_leaves_stamps_alone(clone: Path) -> None:
    the_plan().write()
    stamp = target("fig05").stamp
    edit("params/figures/fig05.yaml", "title: ", "title: Another ")
    job = ("--target-jobs", "data_relative_loss:", "--force", "data_relative_loss")
    assert snakemake("-n", "--mode", "remote", *job) == 0
    assert stamp.exists()
    assert snakemake("-n", "--force", "data_relative_loss") == 0
    assert not stamp.exists()
