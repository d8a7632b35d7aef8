"""Two processes learn what one does, and a run of two is as deterministic and as robust as any."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file
from torch import Tensor

from amago2.distributed import launch
from amago2.errors import ConfigError
from amago2.training.rank_worker import work
from tests.amago2.toy import small
from tests.amago2.training.test_train import content
from tests.amago2.two_ranks import VARIANTS

HERE = {**os.environ, "PYTHONPATH": "."}
RANKS = small(learner={"processes": 2}, collector={"epochs": 20})


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What `two_ranks.py` came to."""
    out = tmp_path_factory.mktemp("two_ranks")
    command: list[str | Path] = [sys.executable, Path(__file__).with_name("two_ranks.py"), out]
    subprocess.run(command, env=HERE, check=True, timeout=120)
    return {name: load_file(out / name) for name in ("single", "rank0", "rank1")}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["metric", "gradient", "weight"])
def test_two_ranks_learn_what_one_process_does(
    learned: dict[str, dict[str, Tensor]], variant: str, kind: str
) -> None:
    names = [name for name in learned["single"] if name.startswith(f"{variant}.{kind}.")]
    assert len(names) > 10
    for name in names:
        one, two = learned["single"][name].double(), learned["rank0"][name].double()
        assert (two - one).norm() <= 1e-5 * one.norm() + 1e-7, name


def test_the_ranks_weights_are_equal_to_the_bit(learned: dict[str, dict[str, Tensor]]) -> None:
    names = [name for name in learned["rank0"] if ".weight." in name]
    assert len(names) > 100
    for name in names:
        assert learned["rank0"][name].equal(learned["rank1"][name]), name


def start(config: Path, out: Path, *launcher: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "-m", "amago2.cli", "train", str(config)]
    return subprocess.Popen(
        [*command, "--out", str(out)],
        env=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_a_run_loses_a_rank_says_so_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(RANKS.to_yaml())
    run = start(tmp_path / "config.yaml", tmp_path / "run")
    try:
        checkpoints = tmp_path / ".run.scratch/checkpoints"
        end = time.monotonic() + 60
        while not list(checkpoints.glob("epoch-*")):
            assert time.monotonic() < end
            time.sleep(0.01)
        family = psutil.Process(run.pid).children(recursive=True)
        [worker] = [each for each in family if "--multiprocessing-fork" in each.cmdline()]
        worker.kill()
        out, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 1
    said = [line for line in out.splitlines(True) if not line.startswith("epoch ")]  # progress
    assert "".join(said) == (
        "amago2: lost contact with another process of this run: it has ended or does not answer; "
        "run the same command again to continue from the last checkpoint\n"
    )
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not (tmp_path / "run").exists()

    again = start(tmp_path / "config.yaml", tmp_path / "run")
    out, _ = again.communicate(timeout=120)
    assert again.returncode == 0, out
    assert "continuing from epoch" in out

    whole = start(tmp_path / "config.yaml", tmp_path / "whole", *TORCHRUN)
    out, _ = whole.communicate(timeout=120)
    assert whole.returncode == 0, out
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_the_number_of_ranks_is_part_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert small(learner={"processes": None}).hash == small().hash
    assert small(learner={"processes": 2}).hash != small().hash
    with pytest.raises(ConfigError, match="batch_size 8 must be divisible by processes 3"):
        small(learner={"processes": 3})
    monkeypatch.setenv("WORLD_SIZE", "4")
    for ranks, said in ((None, "not set"), (2, "2")):
        with (
            pytest.raises(
                ConfigError, match=f"processes is {said}, but torchrun started 4 processes"
            ),
            launch(ranks, work),
        ):
            pass
