"""SIGTERM: the run ends after its epoch with a checkpoint, and continues to the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amago2.processes import AGAIN_S
from amago2.training.amago_trainer import AmagoTrainer, train
from amago2.training.stopping import EXIT_CODE, StopRequest
from amago2.training.trainer import EpochResult
from tests.amago2.toy import small

BITS = ("metrics.csv", "evaluations.csv", "checkpoint/*", "replay/*")
CONFIG = small(collector={"epochs": 4}, checkpoint={"every": 100, "keep": 1, "with_replay": True})


def bits(run: Path) -> dict[str, bytes]:
    files = [path for pattern in BITS for path in sorted(run.glob(pattern))]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def ask(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return bits(train(CONFIG, tmp_path_factory.mktemp("undisturbed") / "run"))


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, times: int = 1) -> None:
    whole = AmagoTrainer.train_epoch

    def train_epoch(self: AmagoTrainer) -> EpochResult:
        if self.epoch == epoch:
            ask(times)  # as Slurm's own and a supervisor's, at almost the same moment
        return whole(self)

    monkeypatch.setattr(AmagoTrainer, "train_epoch", train_epoch)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_run_that_is_asked_to_stop_loses_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undisturbed: dict[str, bytes],
    epoch: int,
) -> None:
    out, scratch = tmp_path / "run", tmp_path / "scratch"
    stop_in_epoch(monkeypatch, epoch, times=2)
    with pytest.raises(SystemExit) as stopped:
        train(CONFIG, out, scratch)
    assert stopped.value.code == EXIT_CODE == 143
    assert f"stopped after epoch {epoch + 1} of 4" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    folders = [path.name for path in (scratch / "checkpoints").iterdir()]
    assert folders == [f"epoch-{epoch + 1:08}"]
    monkeypatch.undo()
    train(CONFIG, out, scratch)
    assert bits(out) == undisturbed


def test_in_the_last_epoch_the_run_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    stop_in_epoch(monkeypatch, 3)
    assert bits(train(CONFIG, tmp_path / "run")) == undisturbed


def test_another_handler_stays() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            ask()
            assert not stop
    finally:
        signal.signal(signal.SIGTERM, before)


TWICE = f"""
import os, signal, time
from amago2.training.stopping import StopRequest
with StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop
    time.sleep({AGAIN_S})
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_second_one_ends_it_at_once() -> None:
    assert subprocess.run([sys.executable, "-c", TWICE]).returncode == -signal.SIGTERM


SUPERVISED = """
import os, sys, time

fork = os.fork

def slow_for_the_supervisor():
    child = fork()
    time.sleep(0.5 if child else 0)
    return child

os.fork = slow_for_the_supervisor
from amago2.processes import supervise
from amago2.training.stopping import StopRequest

def command():
    with StopRequest() as stop:
        print("ready", flush=True)
        while not stop:
            time.sleep(0.05)
        time.sleep(0.2)  # what remains of an epoch
        print("checkpoint", flush=True)
        sys.exit(143)

supervise(command)
"""


@pytest.mark.parametrize("group", [False, True])
def test_it_reaches_the_run_through_its_supervisor(group: bool) -> None:
    """Alone, or as Slurm sends it, to all processes of the job."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    if group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert (said, process.returncode) == ("checkpoint\n", 143)


WORKER = """
import multiprocessing, os, signal, sys, time
from amago2.processes import end_with_parent, leave_signals_to_trainer

def work(pipe):
    end_with_parent()
    leave_signals_to_trainer()
    pipe.send(os.getpid())
    time.sleep(60)

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("fork").Process(target=work, args=(theirs,), daemon=True).start()
    child = ours.recv()
    os.kill(child, signal.SIGTERM)
    time.sleep(0.1)
    os.kill(child, 0)  # it is there
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ignores_it_and_ends_with_the_trainer() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True)
    child = int(done.stdout)
    end = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < end
        time.sleep(0.05)
