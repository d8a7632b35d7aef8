"""How far a reproduction is: progress of all that is left, and what each job is doing."""

import fcntl
import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.cli.app import main
from workflow.execute import progress


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


def test_clock_shows_hours_only_if_there_are_any() -> None:
    assert [progress.clock(s) for s in (5, 65, 3661)] == ["0:05", "1:05", "1:01:01"]


def test_progress_counts_what_is_done(checkout: Path) -> None:
    watched = progress.Progress(dag := the_plan())
    assert watched.line().startswith("runs 0/8 done, elapsed 0:00, about ")
    one, two, *_ = dag.pending
    project.finish(one)
    two.scratch.mkdir(parents=True)
    state = '{"done": 0.64, "pid": 1, "phase": "learn"}'
    (two.scratch / "progress.json").write_text(state)
    assert f"runs 1/8 done, 1 training ({progress.label(two)} 64%)" in watched.line()
    project.finish(two)
    assert watched.line().startswith("runs 2/8 done, elapsed")


def test_status_shows_every_job(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three, four, *_ = the_plan().pending
    project.finish(one)
    state = {"phase": "learn", "epoch": 1, "env_steps": 600, "updates": 30, "elapsed_s": 10.0}
    # What a process's number says in a container, or on another machine, is no matter.
    shares = ((two, {"done": 0.6, "began": 0.1}), (three, {"done": 0.5}), (four, {"done": 0.7}))
    for run, more in shares:
        run.scratch.mkdir(parents=True)
        (run.scratch / "progress.json").write_text(json.dumps(state | {"pid": os.getpid()} | more))
        (run.scratch / "lock").touch()
    for silent in (two, three):  # one is held by a trainer here, the other by nobody
        os.utime(silent.scratch / "progress.json", (0, 0))
    with (two.scratch / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["status", "--budget", "micro"]) == 0
    said = capsys.readouterr().out
    # 5 of 6 tenths were done in these 10 s: 500 steps, 25 updates; the other 4 tenths take 8 s.
    assert re.search(rf"{progress.label(two)} +learn +60% +600 +30 +50 +2.5 +8 s", said)
    assert re.search(rf"{progress.label(three)} +interrupted +50%", said)
    assert re.search(rf"{progress.label(four)} +learn +70%", said)  # elsewhere: its file is young
    assert "1 of 8 runs are finished, 2 are being trained, 1 are interrupted, 4 have not" in said
    assert main(["status", "--budget", "micro"]) == 0
    assert re.search(rf"{progress.label(two)} +interrupted +60%", capsys.readouterr().out)


def test_a_reproduction_ignores_signs_of_life_from_before_it(checkout: Path) -> None:
    run = the_plan().pending[0]
    run.scratch.mkdir(parents=True)
    (run.scratch / "progress.json").write_text('{"done": 0.5}')
    os.utime(run.scratch / "progress.json", (time.time() - 10,) * 2)
    assert not list(progress.Progress(the_plan()).training())
    assert len(list(progress.Progress(the_plan(), since=0).training())) == 1
