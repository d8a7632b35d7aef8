"""Factors between estimates and this machine, from a kernel and from finished runs."""

from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.estimate.calibration import Kernel, calibrate, corrections
from workflow.estimate.hardware import hardware
from workflow.estimate.training_time import estimated_seconds


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


def test_without_finished_runs_the_kernel_alone_decides(checkout: Path) -> None:
    kernel, processor = Kernel(wall_s=0.3, cpu_s=0.1), hardware().processor
    runs = the_plan().runs.values()
    assert corrections(runs) == {}
    assert corrections(runs, kernel) == {"cpu": 0.3 / processor.kernel_s}


def test_finished_runs_correct_the_estimates(checkout: Path) -> None:
    """60 CPU seconds, where wall time passes three times as fast as CPU time."""
    run = next(iter(the_plan().runs.values()))
    project.finish(run)
    runs = the_plan().runs.values()
    factor = (60 + hardware().processor.start_s) / estimated_seconds(run.config)
    assert corrections(runs) == {"cpu": pytest.approx(factor)}
    kernel = Kernel(wall_s=0.3, cpu_s=0.1)
    assert corrections(runs, kernel) == {"cpu": pytest.approx(3 * factor)}


def test_the_kernel_takes_milliseconds_here() -> None:
    kernel = calibrate()
    assert 0.001 < kernel.cpu_s < 1
    assert kernel.cpu_s < 1.1 * kernel.wall_s  # one thread; clocks have a resolution
