"""Disk space of what DVC versions, estimated before anything is trained."""

from pathlib import Path

import pytest

from amago2.config.layers import Layer
from amago2.footprint import stored_timesteps
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
