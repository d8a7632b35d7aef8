from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amago2.agent.agent import Agent
from amago2.agent.batch import Batch
from amago2.env.spaces import Array
from amago2.replay.batches import shuffle_rewards
from amago2.rollout.collector import Collector
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.learner import load_optimizer_state_dict
from tests.amago2.toy import small


def sampled() -> tuple[Array, Array]:
    """Two sub-sequences of three and two transitions; rewards 0 to 7, the last one padding."""
    records = np.zeros((2, 4), [("reward", "<f4"), ("time", "<i4")])
    records["reward"] = np.arange(8).reshape(2, 4)
    return records, np.array([4, 3])


def test_shuffled_rewards_are_the_valid_transitions_own_in_another_order() -> None:
    orders = set()
    for seed in range(20):
        records, lengths = sampled()
        shuffle_rewards(records, lengths, np.random.default_rng(seed))
        rewards = records["reward"]
        assert rewards[:, 0].tolist() == [0, 4]  # of no transition
        assert rewards[1, 3] == 7  # padding
        moved = (*rewards[0, 1:].tolist(), *rewards[1, 1:3].tolist())
        assert sorted(moved) == [1, 2, 3, 5, 6]
        orders.add(moved)
    assert len(orders) > 10


def learned_from(monkeypatch: pytest.MonkeyPatch, folder: Path, **over: Any) -> list[Batch]:
    """The batches of the first two updates."""
    batches = []
    loss = Agent.loss

    def watched(self: Agent, batch: Batch, rng: torch.Generator) -> Any:
        batches.append(batch)
        return loss(self, batch, rng)

    with monkeypatch.context() as patch:
        patch.setattr(Agent, "loss", watched)
        folder.mkdir()
        run = AmagoTrainer(small(**over), folder)
        assert isinstance(run.collector, Collector)
        run.collector.reset()
        run.collector.collect(0)
        run.learner.learn(2)
        run.close()
    return batches


def test_the_learner_shuffles_when_asked_and_otherwise_samples_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = learned_from(monkeypatch, tmp_path / "plain")
    shuffled = learned_from(monkeypatch, tmp_path / "a", learner={"shuffle_rewards": True})
    again = learned_from(monkeypatch, tmp_path / "b", learner={"shuffle_rewards": True})
    assert len(plain) == 2
    for one, other, same in zip(plain, shuffled, again, strict=True):
        assert torch.equal(one.action, other.action)
        assert not torch.equal(one.reward, other.reward)
        assert one.reward.sum() == other.reward.sum()
        assert torch.equal(other.reward, same.reward)


def test_an_option_that_is_off_renames_no_run() -> None:
    assert small(learner={"shuffle_rewards": None}).hash == small().hash
    assert small(learner={"shuffle_rewards": True}).hash != small().hash


@pytest.mark.parametrize(("fused", "count"), [(True, "meta"), (False, "cpu")])
def test_the_count_of_steps_returns_to_where_the_optimiser_keeps_it(
    fused: bool, count: str
) -> None:
    """A count on a GPU would be read by the host for each parameter and update, unless fused."""
    parameter = torch.nn.Parameter(torch.zeros(3, device="meta"))
    optimizer = torch.optim.Adam([parameter])
    optimizer.defaults["fused"] = fused  # which PyTorch refuses on a device that is none
    stored = {"optimizer.0.step": torch.tensor(7.0)}
    stored |= {f"optimizer.0.{name}": torch.zeros(3) for name in ("exp_avg", "exp_avg_sq")}
    load_optimizer_state_dict(optimizer, [parameter], stored)
    devices = {name: x.device.type for name, x in optimizer.state[parameter].items()}
    assert devices == {"step": count, "exp_avg": "meta", "exp_avg_sq": "meta"}
