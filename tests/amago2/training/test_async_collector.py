"""Collecting while learning: the same bits whatever takes longer, and errors as sentences."""

import time
from pathlib import Path
from typing import Any

import pytest

from amago2.agent.agent import make_agent
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.training.amago_trainer import train
from amago2.training.async_collector import AsyncCollector, collector_gpu
from amago2.training.learner import Learner
from tests.amago2.toy import Toy, small
from tests.amago2.training.test_train import content, interrupted_at, table

ASYNCHRONOUS: dict[str, Any] = {"asynchronous": True, "epochs": 5}
RESULTS = ("metrics.csv", "evaluations.csv", "checkpoint/policy.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small(collector=ASYNCHRONOUS), tmp_path_factory.mktemp("finished") / "run")


def slowly(out: Path, step_s: float, update_s: float) -> dict[str, bytes]:
    """The results of the same run with delays."""
    full = Learner._update

    def late(self: Learner, *share: Any) -> Any:
        time.sleep(update_s)
        return full(self, *share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "_update", late)
        delayed = {"entry_point": "tests.amago2.toy:Late", "kwargs": {"seconds": step_s}}
        return content(train(small(collector=ASYNCHRONOUS, env=delayed), out))


def test_results_do_not_depend_on_which_takes_longer(finished: Path, tmp_path: Path) -> None:
    collecting_is_slow = slowly(tmp_path / "a", 0.01, 0.0)
    learning_is_slow = slowly(tmp_path / "b", 0.0, 0.1)
    for name in RESULTS:
        assert collecting_is_slow[name] == learning_is_slow[name] == content(finished)[name]


def test_resuming_gives_the_same_bits(finished: Path, tmp_path: Path) -> None:
    interrupted_at(small(collector=ASYNCHRONOUS), tmp_path / "run", 3)
    assert content(train(small(collector=ASYNCHRONOUS), tmp_path / "run")) == content(finished)


def test_updates_see_what_earlier_epochs_collected(finished: Path, tmp_path: Path) -> None:
    synchronous = table(train(small(), tmp_path / "synchronous") / "metrics.csv")
    asynchronous = table(finished / "metrics.csv")
    per_epoch = 3 * 12

    def returns(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        """Of rollouts that finished in the first epoch, before any update."""
        return [r for r in rows if r["name"] == "train_return" and int(r["step"]) <= per_epoch]

    def updates(rows: list[dict[str, str]]) -> list[float]:
        return [float(row["value"]) for row in rows if row["name"] == "updates"]

    assert returns(asynchronous) == returns(synchronous)
    assert updates(synchronous)[:5] == [4, 8, 12, 16, 20]
    assert updates(asynchronous) == [0, 4, 8, 12, 16]


def test_an_error_in_the_other_process_is_raised_here() -> None:
    config = small(collector={"asynchronous": True}, env={"kwargs": {"nan_reward_after": 5}})
    collector = AsyncCollector(config)
    try:
        collector.reset()
        envs = VectorEnv(lambda _: Toy(), 1)
        collector.collect_async(0, make_agent(config, envs.observations, envs.actions))
        with pytest.raises(RunError, match=r"toy:Toy, actor 0, step 1 .* reward is nan"):
            collector.state_dict()
        with pytest.raises(
            RunError, match="the collector's process ended by itself with exit code 0"
        ):
            collector.state_dict()
    finally:
        collector.close()


def test_its_gpu_is_the_one_after_the_ranks() -> None:
    config = small(learner={"processes": 2}, collector={"asynchronous": True})
    assert [collector_gpu(config, visible) for visible in (1, 2, 3, 8)] == [0, 0, 2, 2]
    assert [collector_gpu(small(), visible) for visible in (1, 2)] == [0, 1]


def test_an_option_that_is_off_renames_no_run() -> None:
    assert small(collector={"asynchronous": None}).hash == small().hash
    assert small(collector={"asynchronous": True}).hash != small().hash
