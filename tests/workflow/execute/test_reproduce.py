"""`make reproduce` with a stand-in for the trainer: progress, failures, stops, resumption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.workflow import project

COMMAND = [sys.executable, "-m", "workflow", "reproduce", "--budget", "micro"]
POPGYM = "results/micro/runs/popgym"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a stand-in for the trainer, without figures and tables."""
    folder = project.copy_project(tmp_path_factory.mktemp("pristine") / "project")
    shutil.copy(Path(__file__).with_name("fake_cli.py"), folder / "amago2" / "cli.py")
    for kind in ("figures", "tables"):
        shutil.rmtree(folder / "params" / kind)
    (folder / "params" / "experiments" / "ext_return_scale.yaml").unlink()
    project.commit(folder)
    return folder


@pytest.fixture
def checkout(pristine: Path, tmp_path: Path) -> Path:
    project.git(pristine, "clone", "-q", str(pristine), str(tmp_path / "clone"))
    return tmp_path / "clone"


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND,
        cwd=folder,
        env={**project.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def trainers(folder: Path) -> list[psutil.Process]:
    """Trainers at work in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if "amago2.cli" in process.cmdline() and process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def records(folder: Path) -> list[dict[str, str]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob(f"{POPGYM}/*/*/record.json"))]


def test_a_failed_run_is_named_with_the_end_of_its_log_and_the_others_go_on(checkout: Path) -> None:
    code, said = finish(start(checkout, FAKE_FAILS="dep_actor_dep_critic"))
    assert code == 1
    assert "FAILED: popgym dep/dep seed 0 (results/micro/.logs/runs/popgym/" in said
    assert "    it went wrong: for no good reason" in said
    assert said.count("FAILED") == 1
    assert "1 of 2 runs are finished" in said
    assert len(records(checkout)) == 1

    code, said = finish(start(checkout))
    assert code == 0, said
    assert said.startswith("1 of 2 runs to train")
    assert "runs 1/2 done" in said
    assert "left" in said
    assert said.splitlines()[-1] == "report   results/micro/report/index.html"
    assert len(list(checkout.glob(f"{POPGYM}/*/*/checkpoint.dvc"))) == 2
    commit = project.git(checkout, "rev-parse", "HEAD").strip()
    assert [record["git_commit"] for record in records(checkout)] == [commit, commit]
    assert not any(record["git_dirty"] for record in records(checkout))

    began = time.monotonic()
    code, said = finish(start(checkout, PATH="/nonexistent"))
    assert (code, said.splitlines()[0]) == (
        0,
        "nothing to do: every run, table and figure is up to date",
    )
    assert time.monotonic() - began < 10


def test_files_dated_in_the_future_stop_nothing(checkout: Path) -> None:
    def date_everything_in_the_future() -> None:
        for path in sorted(checkout.rglob("*")):
            if ".git" not in path.parts:
                os.utime(path, (4102444800, 4102444800))  # 2100-01-01

    date_everything_in_the_future()
    assert finish(start(checkout))[0] == 0
    date_everything_in_the_future()
    path = checkout / "params" / "experiments" / "popgym.yaml"
    path.write_text(path.read_text().replace("title: ", "title: Another "))
    date_everything_in_the_future()
    code, said = finish(start(checkout))
    assert (code, said[:27]) == (0, "0 of 2 runs to train, 3 tab"), said
    date_everything_in_the_future()
    code, said = finish(start(checkout))
    assert (code, said[:13]) == (0, "nothing to do")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_keeps_what_is_unfinished(
    checkout: Path, signum: signal.Signals
) -> None:
    process = start(checkout, FAKE_SECONDS="30")
    wait_until(lambda: len(list(checkout.glob("results/micro/.scratch/*/progress.json"))) == 2)
    second = subprocess.run(COMMAND, cwd=checkout, capture_output=True, text=True)
    assert second.returncode == 2
    assert f"already running here (process {process.pid})" in second.stderr
    process.send_signal(signum)
    code, said = finish(process)
    assert code == 128 + signum
    assert "stopped; the same command continues from here" in said
    assert not trainers(checkout)
    assert not records(checkout)
    assert len(list(checkout.glob("results/micro/.scratch/*/progress.json"))) == 2


def test_after_kill_9_of_everything_the_same_command_goes_on(checkout: Path) -> None:
    process = start(checkout, FAKE_SECONDS="1000")
    wait_until(lambda: len(trainers(checkout)) == 2)
    snakemake = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    for each in snakemake:
        each.kill()
    assert len(trainers(checkout)) == 2  # they outlive both
    assert any((checkout / ".snakemake" / "locks").iterdir())

    process = start(checkout, FAKE_SECONDS="0.5")
    code, said = finish(process)
    assert code == 0, said
    assert "processes of an interrupted reproduction" in said
    assert not trainers(checkout)
    assert [len(record["began"].split()) for record in records(checkout)] == [2, 2]


def test_a_snakemake_of_the_users_own_is_left_alone(checkout: Path) -> None:
    # A shell that runs the tests in the background has them ignore SIGINT, and all that they start.
    command = ["env", "--default-signal=INT", sys.executable]
    command += ["-m", "snakemake", "--config", "budget=micro"]
    own = subprocess.Popen(
        command,
        cwd=checkout,
        env={**project.environment(), "FAKE_SECONDS": "1000"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(lambda: trainers(checkout))
    code, said = finish(start(checkout))
    assert code == 2
    assert f"snakemake is already running here (process {own.pid})" in said
    assert own.poll() is None
    os.killpg(own.pid, signal.SIGINT)
    own.wait(30)


def test_runs_that_need_a_gpu_are_refused_where_there_is_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amago2.errors import ConfigError
    from workflow.execute import checks
    from workflow.setup import driver
    from workflow.setup.driver import Driver

    path = checkout / "params" / "budgets" / "micro.yaml"
    path.write_text(path.read_text().replace("all:\n", "all:\n  device: cuda\n"))
    monkeypatch.chdir(checkout)
    dag = project.the_plan()
    monkeypatch.setattr(driver, "find", lambda: None)
    with pytest.raises(ConfigError, match="2 runs of budget micro need a GPU"):
        checks.check_devices(dag)
    monkeypatch.setattr(checks, "version", lambda package: "2.13.0")
    monkeypatch.setattr(driver, "find", lambda: Driver("535.104.05"))
    with pytest.raises(
        ConfigError, match=r"need a GPU: NVIDIA driver 535\.104\.05, and CUDA 13\.0 needs 580; "
        "install driver 580 or newer, or `make setup TORCH=cuda12`"
    ):  # fmt: skip
        checks.check_devices(dag)
    monkeypatch.setattr(driver, "find", lambda: Driver("580.65.06"))
    checks.check_devices(dag)
