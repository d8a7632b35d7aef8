"""Speeds that are fitted to measurements made with known speeds."""

import json
from pathlib import Path
from typing import Any

import pytest

from amago2.errors import ConfigError
from tests.amago2.toy import small
from tests.records import write_record
from workflow.estimate import fitting
from workflow.estimate.calibration import Kernel
from workflow.estimate.hardware import hardware
from workflow.estimate.training_time import env_steps, flops_per_update, updates


def test_a_processors_speed_is_recovered_from_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of SAC beside them does not count."""
    monkeypatch.setattr(fitting, "calibrate", lambda: Kernel(0.03, 0.02))
    for name, per_epoch in (("a", 10), ("b", 200)):
        config = small(learner={"updates_per_epoch": per_epoch})
        flops = updates(config) * flops_per_update(config)
        seconds = flops / 5e8 + 2e-3 * env_steps(config)
        _finished(tmp_path / "runs/x/y" / name, config.to_yaml(), seconds)
    _finished(tmp_path / "runs/x/sac/c", "trainer: sac\n", 1e6)
    found = fitting.fit_processor(tmp_path)
    assert found["flops"] == pytest.approx(5e8, rel=0.01)
    assert found["step_s"] == {config.env.entry_point: pytest.approx(2e-3, rel=0.01)}
    assert found["kernel_s"] == 0.02


def _finished(folder: Path, config: str, seconds: float) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    write_record(folder, {"cpu_s": seconds})


def test_a_gpus_speed_is_recovered_from_updates(tmp_path: Path) -> None:
    """10 TFLOP/s, twice as many in bfloat16; one size did not fit into its memory."""
    common = {"measure": "gpu", "mode": "float32", "how": "eager"}
    rows: list[dict[str, Any]] = [
        {**common, "size": size, "seconds": tflop / 10, "tflop": tflop}
        for size, tflop in (("ml45", 0.4), ("popgym", 0.8), ("atari", 0.5))
    ]
    rows.append({**common, "size": "babyai"})
    rows.append({**rows[0], "mode": "bfloat16", "seconds": 0.02})
    rows.append({**rows[0], "how": "compiled", "seconds": 1e-3})
    rows.append({"measure": "gpu_actors", "count": "16", "mode": "float32", "steps_per_s": 4e3})
    measurements = tmp_path / "performance.json"
    measurements.write_text(json.dumps({"gpu": {"rows": rows}}))
    assert fitting.fit_gpu(measurements) == {"flops": {"float32": 1e13, "bfloat16": 2e13}}
    measurements.write_text("{}")
    with pytest.raises(ConfigError, match="holds no measurements of a GPU"):
        fitting.fit_gpu(measurements)


def test_the_table_says_where_each_gpus_numbers_are_from() -> None:
    for gpu in hardware().gpus.values():
        assert gpu.source.startswith(("published: ", "measured: ", "not measured: "))
