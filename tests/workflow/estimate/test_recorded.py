"""The plan beside what runs took, on every processor on which it was recorded."""

from pathlib import Path

import pytest

from tests.workflow.fake_results import ROOT
from workflow.config.experiments import Selection
from workflow.dag.plan import plan
from workflow.estimate.hardware import hardware
from workflow.estimate.plan_accuracy import TOLERANCE
from workflow.estimate.training_time import estimated_seconds

RECORDED = [
    # results/mini, five seeds of both experiments
    ("AMD EPYC, family 25 model 17", 5, 0.8225),
    # the same of an earlier training version, with three seeds of the control
    ("Intel, family 6 model 207", 3, 0.78),
]
"""Processor, seeds of the control, CPU hours of all runs, of the flagship and its control."""


@pytest.mark.parametrize(("processor", "seeds", "hours"), RECORDED)
def test_the_plan_is_within_its_tolerance(
    processor: str, seeds: int, hours: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    asked = Selection("mini", experiments=("ext_return_scale", "negative_control"))
    matrices = {matrix.name: matrix for matrix in plan(asked, results=tmp_path).matrices}
    configs = [member.config for member in matrices["ext_return_scale"].members]
    control = [member.config for member in matrices["negative_control"].members]
    configs += [config for config in control if config.seed < seeds]
    assert len(configs) == 30 + 2 * seeds
    planned = sum(estimated_seconds(config) for config in configs)
    took = 3600 * hours + len(configs) * hardware().processor.start_s  # which no run counts
    assert 1 / TOLERANCE < took / planned < TOLERANCE, f"{processor}: {took / planned:.2f}"
