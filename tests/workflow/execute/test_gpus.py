"""GPUs are never over-committed, whoever asks at once, and a killed job's is free again."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from amago2.errors import ConfigError, RunError
from tests.amago2.toy import small
from tests.workflow.project import ROOT
from workflow.cli.app import main
from workflow.execute import gpus as devices
from workflow.execute.visible_gpus import Gpu

JOB = """
import sys, time
from pathlib import Path
from workflow.execute import gpus as devices

folder, need, seconds = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
claim = devices.claim(need, folder / "locks", int(sys.argv[4]))
mine = [folder / f"gpu{gpu}-{__import__('os').getpid()}" for gpu in claim.gpus]
for path in mine:
    path.touch()
time.sleep(seconds)
together = max(len(list(folder.glob(f"gpu{gpu}-*"))) for gpu in claim.gpus)
for path in mine:
    path.unlink()
print(",".join(claim.gpus), together, flush=True)
"""
FOUR = "0=24,1=24,2=24,3=24"


def job(
    folder: Path, need: float, seconds: float = 0.2, gpus: str = FOUR, count: int = 1
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(folder), str(need), str(seconds), str(count)]
    variables = {**os.environ, devices.GPUS: gpus}
    return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> tuple[str, int]:
    """The devices that a job had, and how many jobs were seen on it."""
    gpu, together = process.communicate(timeout=120)[0].splitlines()[-1].split()
    return gpu, int(together)


def wait_until_placed(folder: Path) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob("gpu*-*")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_sixteen_runs_on_four_devices_never_share_one(tmp_path: Path) -> None:
    placed = [said(each) for each in [job(tmp_path, 20e9) for _ in range(16)]]
    assert {gpu for gpu, _ in placed} == {"0", "1", "2", "3"}
    assert [together for _, together in placed] == [1] * 16


def test_runs_on_two_devices_share_neither(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 20e9, count=2) for _ in range(4)] + [job(tmp_path, 20e9)]
    placed = [said(each) for each in jobs]
    assert all(len(set(gpus.split(","))) == 2 for gpus, _ in placed[:4])
    assert [together for _, together in placed] == [1] * 5


def test_more_devices_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.GPUS, "0=24")
    with pytest.raises(
        RunError, match=r"wants 2 GPUs \(learner\.processes, .*, and there are 1 here"
    ):
        devices.claim(1e9, tmp_path, 2)


def test_a_run_of_several_ranks_has_a_device_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became = []

    def become(file: str, command: list[str]) -> None:
        became.append((command, os.environ["CUDA_VISIBLE_DEVICES"]))

    settings = tmp_path / "settings.yaml"
    settings.write_text(small(device="cuda", learner={"processes": 2}).to_yaml())
    monkeypatch.setenv(devices.GPUS, FOUR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "execvp", become)
    where = ["--out", str(tmp_path / "run"), "--scratch", str(tmp_path / "scratch")]
    assert main(["job", "train", str(settings), *where]) == 0
    [(command, visible)] = became
    assert f" -m amago2.cli train {settings} --out " in " ".join(command)
    assert visible == "0,1"


def test_small_runs_share_a_device_up_to_its_memory(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 9e9, 1.0, gpus="0=24") for _ in range(4)]  # 6 sixteenths each
    assert 2 >= max(together for _, together in map(said, jobs)) > 1


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_frees_its_device(tmp_path: Path, signum: signal.Signals) -> None:
    first = job(tmp_path, 20e9, 1000, gpus="0=24")
    wait_until_placed(tmp_path)
    second = job(tmp_path, 20e9, 0, gpus="0=24")
    assert second.stdout
    assert second.stdout.readline() == "waiting for a free GPU\n"
    first.send_signal(signum)
    first.communicate()
    assert said(second)[0] == "0"


def test_a_run_takes_the_device_with_most_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(devices.GPUS, "0=24,1=24")
    taken = [devices.claim(6e9, tmp_path) for _ in range(4)]  # four sixteenths each
    assert [each.gpus for each in taken if each] == [("0",), ("1",), ("0",), ("1",)]
    large = Gpu("0", 8e9)
    assert [devices.slots_needed(need, large) for need in (1, 1e9, 1.1e9, 8e9, 1e12)] == [
        1,
        2,
        3,
        16,
        16,
    ]


def test_without_a_device_there_is_nothing_to_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(devices.GPUS, raising=False)
    monkeypatch.setattr(devices, "visible_gpus", lambda capability: [])
    assert devices.claim(1e9, tmp_path) is None


def test_a_list_of_devices_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.GPUS, "two")
    with pytest.raises(ConfigError, match="AMAGO2_GPUS=two: must be like 0=24,1=24"):
        devices.gpus()
