"""A trainer in a Slurm job; squeue and scontrol are stand-ins (`make test-slurm` has real ones)."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from amago2.errors import RunError
from workflow.execute import slurm
from workflow.execute.local_disk import VARIABLE, local_disk

ENDLESS = ("sh", "-c", 'trap "exit 143" TERM; while :; do sleep 0.05; done')
"""A trainer that stops in order when it is asked to."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A job that runs, and has ten minutes left; files in the folder say otherwise."""
    programs = {
        "squeue": f'case "$*" in *%L) cat {tmp_path}/left ;; *) cat {tmp_path}/state ;; esac',
        "scontrol": f'echo "$@" >> {tmp_path}/said; echo PENDING > {tmp_path}/state',
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "left").write_text("10:00\n")
    (tmp_path / "state").write_text("RUNNING\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(slurm, "POLL_S", 0.02)
    monkeypatch.setattr(slurm, "LAST_S", 0.2)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for signum, handler in before.items():
        signal.signal(signum, handler)


def queued_again(job: Path) -> bool:
    return (job / "said").exists()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1-02:03:04", 93784), ("12:00:00", 43200), ("59:30", 3570), ("0:07", 7),
        ("UNLIMITED", None), ("INVALID", None), ("NOT_SET", None), ("", None),
    ],
)  # fmt: skip
def test_the_time_left(job: Path, said: str, seconds: int | None) -> None:
    (job / "left").write_text(said)
    assert slurm.time_left("7") == seconds


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (2, 2)])
def test_a_trainer_that_ends_by_itself(job: Path, code: int, seen: int) -> None:
    assert slurm.Trainer("7", ("sh", "-c", f"exit {code}"), ()).run() == seen
    assert not queued_again(job)


def test_one_that_is_killed_is_not_queued_again(job: Path) -> None:
    assert slurm.Trainer("7", ("sh", "-c", "kill -9 $$"), ()).run() == 137
    assert not queued_again(job)


def test_near_the_time_limit_it_is_asked_and_the_job_queued_again(job: Path) -> None:
    (job / "left").write_text("0:01\n")
    assert slurm.Trainer("7", ENDLESS, ()).run() == 143
    assert (job / "said").read_text() == "requeue 7\n"


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False)])
def test_asked_by_slurm(job: Path, state: str, again: bool) -> None:
    """Not again if Slurm does that by itself, or if the job was cancelled."""
    (job / "state").write_text(f"{state}\n")
    trainer = slurm.Trainer("7", ENDLESS, ())
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert trainer.run() == 143
    assert queued_again(job) == again


def test_trainers_of_one_job_wait_for_each_other(job: Path) -> None:
    """The first one to stop does not have the others killed."""
    first = os.fork()
    if first == 0:
        slow = f"sleep 1; touch {job}/ended; exit 143"  # what remains of its epoch
        looping = f'trap "{slow}" TERM; touch {job}/ready; while :; do sleep 0.05; done'
        trainer = slurm.Trainer("7", ("sh", "-c", looping), ())
        os._exit(trainer.run())
    end = time.monotonic() + 20
    while not (job / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    trainer = slurm.Trainer("7", ENDLESS, ())
    os.kill(first, signal.SIGTERM)
    trainer._ask()
    assert trainer.run() == 143
    assert (job / "ended").exists()
    assert queued_again(job)
    os.waitpid(first, 0)


def test_the_locks_are_the_trainers_too(job: Path) -> None:
    with (job / "lock").open("w") as lock:
        code = f"test -e /proc/self/fd/{lock.fileno()}"
        assert slurm.Trainer("7", ("sh", "-c", code), [lock.fileno()]).run() == 0


def test_the_nodes_own_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert local_disk() is None
    (tmp_path / "7").mkdir()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/$SLURM_JOB_ID")
    assert local_disk() == tmp_path / "7"
    for wrong, said in {
        f"{tmp_path}/$NOWHERE": "the job that trains has no such variable",
        f"{tmp_path}/missing": "is not a folder on this machine",
        "relative": "is not a folder on this machine",
    }.items():
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(RunError, match=said):
            local_disk()
