"""What a budget takes in all, and how the plan is printed."""

import re
import shutil
import time
from pathlib import Path

import pytest

from amago2.config.documents import read_yaml
from amago2.config.schema import RunConfig
from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.cli.app import main
from workflow.config.requirements import lacking
from workflow.estimate import plan
from workflow.estimate.formatting import duration, short_number
from workflow.estimate.hardware import Accelerator, hardware
from workflow.estimate.plan import totals_by_experiment, totals_of_all, wall_time


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


def test_the_longest_runs_decide_when_all_are_done() -> None:
    assert wall_time([], 3) == 0
    assert wall_time([1, 1, 1, 3], 2) == 3
    assert wall_time([1, 2, 3, 4, 5], 2) == 8
    assert wall_time([5], 100) == 5


def test_runs_add_up(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two AMAGO-2 agents and six of cue recall, with two cores for them: see `micro`."""
    monkeypatch.setattr(plan, "cores", lambda: 2)
    monkeypatch.setattr(plan, "estimated_seconds", lambda config, gpu=None: 10.0)
    dag = the_plan()
    popgym, total = totals_by_experiment(dag)["popgym"], totals_of_all(dag)
    assert (popgym.runs, popgym.finished, total.runs) == (2, 0, 8)
    assert (popgym.env_steps, popgym.updates) == (2 * 2 * 130 * 2, 2 * 2 * 2)
    assert (popgym.cpu_s, total.cpu_s) == (10, 40)


def test_finished_runs_count_as_done_and_correct_the_estimate(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took 60 s and 5 s to start, not the estimated 10 s; seven runs are left for two cores."""
    for module in ("plan", "calibration"):
        name = f"workflow.estimate.{module}.estimated_seconds"
        monkeypatch.setattr(name, lambda config, gpu=None: 10.0)
    monkeypatch.setattr(plan, "cores", lambda: 2)
    project.finish(next(iter(the_plan().runs.values())))
    total = totals_of_all(the_plan())
    assert (total.runs, total.finished) == (8, 1)
    assert total.cpu_s == pytest.approx(4 * (60 + hardware().processor.start_s))


def test_the_command_shows_experiments_and_total(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--budget", "micro"]) == 0
    printed = capsys.readouterr().out
    for word in ("popgym", "ext_return_scale", "all different runs", "by a calibration of this"):
        assert word in printed
    assert main(["plan", "--budget", "micr"]) == 2
    assert not (checkout / "results").exists()


def test_numbers_for_people() -> None:
    durations = [duration(s) for s in (3.2, 89, 100, 7200, 1e6)]
    assert durations == ["4 s", "89 s", "2 min", "2 h", "12 days"]
    numbers = [short_number(n) for n in (7, 12_345, 100.8e6, 2e9)]
    assert numbers == ["7", "12.3k", "101M", "2G"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the project, without results."""
    folder = tmp_path_factory.mktemp("untrained") / "project"
    project.copy_all(folder)
    shutil.rmtree(folder / "results")
    return folder


@pytest.mark.parametrize("budget", ["smoke", "mini", "day", "paper"])
def test_the_plan_of_every_budget(untrained: Path, budget: str) -> None:
    began = time.monotonic()
    done = project.run(untrained, "workflow", "plan", "--budget", budget)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60  # 10 on a machine of its own
    experiments = set(re.findall(r"^ *(\w+) +\d+ +\d+ +\d+ ", done.stdout, re.MULTILINE))
    paths = (untrained / "params" / "experiments").glob("*.yaml")
    expected = {path.stem for path in paths if budget in read_yaml(path)["budgets"]}
    left_out = {"procgen", "procgen_memory_hard"} if lacking("procgen_easy") else set()
    assert experiments == expected - left_out
    assert re.search(r"all different runs +\d+ +\d+ +\d+ +[\d.]+[kMG] ", done.stdout)
    assert "Disk is what DVC versions" in done.stdout
    on_gpus = budget in ("day", "paper")
    assert ("On these" in done.stdout) != on_gpus
    assert ("wall time on 64 GPUs" in done.stdout) == on_gpus


def test_the_whole_dag_of_day(untrained: Path) -> None:
    """As Snakemake sees it: every run, table and figure, on a processor in place of a GPU."""
    if sentence := lacking("procgen_easy"):
        pytest.skip(sentence)
    path = untrained / "params" / "budgets" / "day.yaml"
    path.write_text(path.read_text().replace("  device: cuda\n", "  device: cpu\n"))
    done = project.run(untrained, "snakemake", "-n", "--quiet", "rules", "--config", "budget=day")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert jobs["train"] == "51"
    assert {"scorecard", "fig04", "fig05", "fig09", "fig10", "report", "manifest"} <= jobs.keys()


def test_gpu_hours_time_energy_and_cost(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkout / "params" / "budgets" / "micro.yaml"
    path.write_text(path.read_text().replace("all:\n", "all:\n  device: cuda\n"))
    seconds = {"RTX A5000": 36_000.0, "A100": 18_000.0}

    def made_up(_: RunConfig, gpu: Accelerator) -> float:
        return seconds.get(gpu.device, 3600.0)

    monkeypatch.setattr(plan, "estimated_seconds", made_up)
    assert main(["plan", "--budget", "micro"]) == 0
    printed = capsys.readouterr().out
    assert re.search("all different runs +40 +80 +8 +8", printed)
    assert re.search("wall time on 8 GPUs +5 h +10 h", printed)
    assert re.search("energy, kWh +16 +18", printed)  # 80 h at 230 W, 40 h at 400 W
    assert re.search("cost, USD +60 +40", printed)
    assert "published: 22 and 14.5 updates/s" in printed
