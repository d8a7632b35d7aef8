"""How accurate plans were: the arithmetic, the record, and what is not compared."""

import csv
from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.cli.app import main
from workflow.estimate import plan, plan_accuracy
from workflow.estimate.calibration import Kernel
from workflow.estimate.hardware import hardware
from workflow.estimate.plan_accuracy import Forecast


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


@pytest.mark.parametrize(
    ("took", "ratio", "held"),
    [(900, "0.67", "within"), (2025, "1.50", "within"), (890, "0.66", "NOT within"),
     (2030, "1.50", "NOT within")],
)  # fmt: skip
def test_how_a_plan_held(took: float, ratio: str, held: str) -> None:
    said = plan_accuracy.sentence(1350, took)
    assert said == f"planned 1350 s, took {took} s: {ratio} of the plan, {held} a factor of 1.5"


def test_each_comparison_is_a_row_and_the_plan_tells_the_last(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = the_plan().results
    assert plan_accuracy.last_comparison(results) is None
    plan_accuracy.record_comparison(results, Forecast(8, 20, 100), 80.0)
    plan_accuracy.record_comparison(results, Forecast(2, 5, 50), 100.0)
    with (results / "durations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["runs"], r["targets"], r["planned_s"], r["took_s"], r["ratio"]) for r in rows] == [
        ("8", "20", "100", "80.0", "0.8"),
        ("2", "5", "50", "100.0", "2.0"),
    ]
    assert main(["plan", "--budget", "micro"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 runs on " in said
    assert "planned 50 s, took 100 s: 2.00 of the plan, NOT within a factor of 1.5." in said


def test_what_is_compared(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(wall_s=2 * hardware().processor.kernel_s, cpu_s=1)
    monkeypatch.setattr(plan, "calibrate", lambda: kernel)
    monkeypatch.setattr(plan, "cores", lambda: 2)
    monkeypatch.setattr(plan, "estimated_seconds", lambda config, gpu=None: 10.0)
    planned = plan.forecast(dag := the_plan())
    assert planned is not None
    stale = len(dag.stale)
    assert (planned.runs, planned.targets) == (len(dag.pending), stale) == (8, stale)
    # Two cores, half as fast as those that were measured.
    assert planned.seconds == pytest.approx(2 * (4 * 10 + stale * plan.SECONDS_PER_TARGET / 2))
    assert plan.forecast(the_plan(runtime="docker")) is None

    scratch = dag.pending[0].scratch
    scratch.mkdir(parents=True)
    (scratch / "progress.json").write_text("{}")
    assert plan.forecast(the_plan()) is None  # that run is not made from its beginning
    project.finish(dag.pending[0])
    assert plan.forecast(the_plan()) is not None
    for run in dag.pending:
        project.finish(run)
    assert plan.forecast(the_plan()) is None
