"""Disk space of what DVC versions, estimated before anything is trained."""

from pathlib import Path

import pytest

from amago2.config.layers import Layer
from amago2.footprint import stored_timesteps
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.run import run_trainer
from tests.workflow import project
from tests.workflow.estimate.configs import resolved
from workflow.benchmarks.lookup import benchmark
from workflow.estimate import disk


def test_replay_is_as_long_as_its_capacity_or_as_what_is_collected() -> None:
    few, many = (resolved("procgen_easy", name) for name in ("smoke", "paper"))
    assert stored_timesteps(few) == 6_400
    assert stored_timesteps(many) == many.replay.capacity
    assert disk.estimate(few).replay == 6_400 * benchmark("procgen_easy").stored_bytes


def test_replay_that_is_not_versioned_costs_nothing_and_renames_no_run() -> None:
    config = resolved("procgen_easy", "smoke")
    without = Layer("test", {"checkpoint": {"with_replay": False}})
    other = resolved("procgen_easy", "smoke", without)
    assert other.run_name == config.run_name
    assert disk.estimate(other) == disk.estimate(config)._replace(replay=0)


class Watched(AmagoTrainer):
    """Notes how large its replay and checkpoints become; logs are small in runs of any length."""

    peak = 0

    def write_checkpoint(self, folder: Path, finished: bool = False) -> None:
        super().write_checkpoint(folder, finished)
        parts = (self.scratch / name for name in ("replay", "checkpoints", "checkpoint.partial"))
        files = [path for part in parts for path in part.rglob("*") if path.is_file()]
        Watched.peak = max(Watched.peak, sum(path.stat().st_size for path in files))


@pytest.mark.parametrize("capacity", [6_000, 100_000])
def test_a_scratch_folder_becomes_as_large_as_estimated(tmp_path: Path, capacity: int) -> None:
    """Once with replay that evicts and keeps what the older checkpoint needs, once with all."""
    short = {
        "agent": {"bins": 8, "discounts": [0.9], "head_hidden_sizes": [64], "num_critics": 4},
        "timestep_encoder": {"hidden_sizes": [64], "output_size": 64},
        "trajectory_encoder": {"width": 64, "layers": 1, "heads": 2, "feedforward_size": 128},
        "learner": {"batch_size": 2, "updates_per_epoch": 1},
        "collector": {"actors": 64, "steps_per_epoch": 100, "epochs": 7},
        "replay": {"capacity": capacity, "unit": "timesteps", "shard_size": 500},
        "evaluation": {"every": 99, "rollouts": 1, "final_rollouts": 1},
        "checkpoint": {"every": 1, "keep": 2},
    }
    config = resolved("return_scale", "smoke", Layer("test", short))
    Watched.peak = 0
    run = run_trainer(Watched, config, tmp_path / "run")
    size = sum(path.stat().st_size for path in (run / "checkpoint").iterdir())
    assert disk.estimate(config).checkpoint == pytest.approx(size, rel=0.1)
    assert disk.scratch_bytes(config) == pytest.approx(Watched.peak, rel=0.1)


def test_sizes_in_pointers_are_exact_and_correct_the_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    one, other = (
        run for run in project.the_plan().runs.values() if run.config.benchmark == "popgym"
    )
    estimated = disk.estimate(other.config)
    one.folder.mkdir(parents=True)
    size = int(3 * disk.estimate(one.config).checkpoint)
    for pointer in one.pointers:
        out = f"md5: {'0' * 32}.dir, size: {size}, hash: md5, path: {pointer.stem}"
        pointer.write_text(f"outs: [{{{out}}}]\n")
    assert disk.disk_of_runs([one]) == (size, size)
    assert disk.disk_of_runs([one, other]).checkpoint == size + 3 * estimated.checkpoint
