"""The whole pipeline as a user runs it, with the real trainer, on a budget of seconds."""

import csv
import math
import subprocess
from pathlib import Path

import pytest

from tests.workflow import project

SHARES = {
    "popgym": "budgets: {micro: {seeds: 1, variants: [ind_actor_ind_critic, ppo_gru]}}",
    "ext_return_scale": "budgets:\n"
    "  micro: {seeds: 1, cells: [scaled], variants: [dep_actor_ind_critic]}",
}


pytestmark = pytest.mark.xdist_group("end_to_end")
"""One process, so that what is trained is trained once."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The project with its runs trained, and what was said: one for each benchmark, a baseline."""
    folder = project.copy_project(tmp_path_factory.mktemp("end") / "project")
    for name, share in SHARES.items():
        path = folder / "params" / "experiments" / f"{name}.yaml"
        grids = (
            path.read_text().split("budgets:")[0].replace("dep_actor_dep_critic]", "ppo_gru]", 1)
        )
        path.write_text(grids + share + "\n")
    project.commit(folder)
    said = reproduce(folder)
    project.commit(folder)
    return folder, said


def reproduce(folder: Path) -> list[str]:
    done: subprocess.CompletedProcess[str] = project.run(
        folder, "workflow", "reproduce", "--budget", "micro"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_from_nothing_to_figures_and_again(made: tuple[Path, list[str]]) -> None:
    checkout, said = made
    assert said[0].startswith("3 of 3 runs to train")
    assert [line.split()[0] for line in said[-3:]] == ["figures", "tables", "report"]
    results = checkout / "results" / "micro"
    with (results / "durations.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    planned, took, ratio = (float(row[key]) for key in ("planned_s", "took_s", "ratio"))
    assert row["runs"] == "3"
    assert took > 0
    assert ratio == pytest.approx(took / planned, rel=0.01)
    assert any(line.startswith(f"planned {planned:.0f} s, took {took:.0f} s: ") for line in said)
    drawn = {path.name for path in (results / "figures").iterdir()}
    assert drawn >= {
        f"{name}.{kind}" for name in ("fig03", "fig05") for kind in ("pdf", "svg", "png")
    }
    tables = ("tables/table1.md", "tables/compute.csv", "metrics/popgym.train.json")
    for part in (*tables, "report/index.html", "manifest.json"):
        assert (results / part).stat().st_size
    assert len(list(results.glob("runs/*/*/*/checkpoint.dvc"))) == 3
    assert len(list(results.glob("runs/*/*/*/replay.dvc"))) == 2

    verified = project.run(checkout, "workflow", "verify", "--budget", "micro")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.splitlines()[-1] == "verified: all of it is byte for byte the same"

    assert reproduce(checkout)[0].startswith("nothing to do")
    assert project.git(checkout, "status", "--porcelain") == ""
    clean = "Data and pipelines are up to date."
    assert project.run(checkout, "dvc", "status").stdout.strip() == clean
    path = checkout / "params" / "budgets" / "micro.yaml"
    path.write_text(f"# a comment\n{path.read_text()}")
    started = project.run(checkout, "dvc", "repro").stdout
    assert "nothing to do: every run, table and figure is up to date" in started
    assert project.run(checkout, "dvc", "status").stdout.strip() == clean
    project.commit(checkout)

    figure = results / "figures" / "fig05.svg"
    before = {path: path.stat().st_mtime_ns for path in results.glob("figures/fig0[!5]*")}
    content = figure.read_bytes()
    figure.unlink()
    assert reproduce(checkout)[0].startswith("0 of 3 runs to train, 1 ")
    assert figure.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert project.git(checkout, "status", "--porcelain") == ""


def test_a_clone_evaluates_the_one_run_that_it_pulled(
    made: tuple[Path, list[str]], tmp_path: Path
) -> None:
    checkout, _ = made
    clone = tmp_path / "clone"
    project.git(checkout, "clone", "-q", str(checkout), str(clone))
    dvc(clone, "remote", "modify", "--local", "local", "url", str(checkout / ".dvc-storage"))
    pointer = next(clone.glob("results/micro/runs/popgym/ind_actor_ind_critic/*/checkpoint.dvc"))
    dvc(clone, "pull", str(pointer))
    assert list(clone.glob("results/micro/runs/*/*/*/*/")) == [pointer.with_suffix("")]

    table = clone / "evaluation.csv"
    run = pointer.parent.relative_to(clone)
    words = ("amago2.cli", "evaluate", str(run), "--rollouts", "1", "--out", table.name)
    done = project.run(clone, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "return"]
    assert sorted(row["task"] for row in rows) == ["HigherLowerEasy", "RepeatFirstEasy"]
    assert all(math.isfinite(float(row["value"])) for row in rows)
    table.unlink()
    assert reproduce(clone)[0].startswith("nothing to do")

    dvc(clone, "pull")
    assert len(list(clone.glob("results/micro/runs/*/*/*/*/"))) == 3 + 2
    assert reproduce(clone)[0].startswith("nothing to do")
    assert dvc(clone, "status") == "Data and pipelines are up to date."
    assert project.git(clone, "status", "--porcelain") == ""


def dvc(folder: Path, *words: str) -> str:
    done = project.run(folder, "dvc", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
