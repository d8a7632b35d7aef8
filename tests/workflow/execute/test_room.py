"""What does not fit this machine is said first, and what does is not all begun at once."""

import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from amago2.errors import ConfigError
from tests.amago2.toy import small
from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.dag.plan import Dag
from workflow.estimate.needs import needs
from workflow.execute import gpus as devices
from workflow.execute import room
from workflow.execute.launch import environment_processes
from workflow.execute.visible_gpus import Gpu

Memory = namedtuple("Memory", "total")
Usage = namedtuple("Usage", "free")


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dag:
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    return the_plan()


def machine(patch: pytest.MonkeyPatch, memory: float, disk: float) -> None:
    patch.setattr(psutil, "virtual_memory", lambda: Memory(int(memory)))
    patch.setattr(shutil, "disk_usage", lambda _: Usage(int(disk)))


def test_too_little_memory_for_a_run(dag: Dag, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 16e9, 1e9)
    room.check_memory(dag)
    machine(monkeypatch, 1e9, 1e9)
    with pytest.raises(ConfigError, match="GB of memory, and this machine has 1 GB: choose a sma"):
        room.check_memory(dag)


def test_too_little_disk_for_all_runs(dag: Dag, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 16e9, 1e9)
    room.check_disk(dag)
    machine(monkeypatch, 16e9, 1e5)
    with pytest.raises(ConfigError, match=r"the 8 runs to train leave about .* make room, select"):
        room.check_disk(dag)


def test_what_unfinished_runs_have_written_counts_as_free(
    dag: Dag, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, 16e9, 1e5)
    scratch = dag.pending[0].scratch
    scratch.mkdir(parents=True)
    with (scratch / "tokens").open("wb") as file:
        file.truncate(10**9)
    room.check_disk(dag)


def test_limits_are_what_there_is_and_at_least_what_the_largest_run_needs(
    dag: Dag, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, 64e9, 1e12)
    option, *given = room.limits(dag)
    found = dict(item.split("=") for item in given)
    assert (option, found["mem_mb"]) == ("--resources", "64001")
    assert 999_000 < int(found["scratch_mb"]) <= 1_000_001
    assert "gpu_mb" not in found
    machine(monkeypatch, 1, 1)
    largest = max(needs(run.config).host_bytes for run in dag.pending)
    assert f"mem_mb={largest // 10**6 + 1}" in room.limits(dag)


def test_gpus_are_shared_as_far_as_their_memory_goes(
    dag: Dag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in dag.runs.values():
        object.__setattr__(run, "config", run.config.model_copy(update={"device": "cuda"}))
    monkeypatch.setattr(devices, "gpus", lambda: [Gpu("0", 24e9), Gpu("1", 24e9)])
    assert "gpu_mb=48001" in room.limits(dag)


@pytest.mark.parametrize(
    ("device", "env", "cores", "expected"),
    [
        ("cuda", {}, 1, []),  # the trainer's own
        ("cuda", {}, 3, ["--set", "env.processes=2"]),
        ("cuda", {}, 99, ["--set", "env.processes=4"]),  # as many as actors
        ("cuda", {"processes": 3}, 8, []),
        ("cpu", {}, 8, []),
    ],
)
def test_environments_get_the_cores_that_the_learner_leaves(
    device: str, env: dict[str, int], cores: int, expected: list[str]
) -> None:
    """Which changes no result, as the number of processes is no part of the run's hash."""
    config = small(device=device, env=env, collector={"actors": 4})
    assert environment_processes(config, cores) == expected
    processes = config.env.model_copy(update={"processes": 2})
    assert config.model_copy(update={"env": processes}).hash == config.hash
