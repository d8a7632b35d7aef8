from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amago2.agent.agent import Agent, make_agent
from amago2.agent.batch import PreparedBatch
from amago2.env.spaces import Array
from amago2.errors import RunError
from amago2.replay.batches import shuffle_rewards
from amago2.rollout.collector import Collector
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.learner import Learner, NonFiniteError, load_optimizer_state_dict
from amago2.training.one_ahead import one_ahead
from tests.amago2.agent.test_agent import BOXES, DISCRETE
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


def learned_from(monkeypatch: pytest.MonkeyPatch, folder: Path, **over: Any) -> list[PreparedBatch]:
    """The batches of the first two updates."""
    batches = []
    loss = Agent.loss

    def watched(self: Agent, batch: PreparedBatch, *rest: Any) -> Any:
        batches.append(batch)
        return loss(self, batch, *rest)

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


def collected(folder: Path) -> AmagoTrainer:
    """A run that has collected for an epoch."""
    folder.mkdir()
    run = AmagoTrainer(small(), folder)
    run.collector.reset()
    assert isinstance(run.collector, Collector)
    run.collector.collect(0)
    return run


def test_a_thread_that_makes_batches_ahead_changes_no_bit(tmp_path: Path) -> None:
    found = []
    for ahead in (False, True):
        with closing(collected(tmp_path / str(ahead))) as run:
            assert not run.learner.ahead, "on a CPU, threads are for the products"
            run.learner.ahead = ahead
            means = [run.learner.learn(3), run.learner.learn(2)]
            tensors = [run.agent.state_dict(), run.learner.state_dict(), *means]
            found.append({(i, k): v for i, part in enumerate(tensors) for k, v in part.items()})
    plain, threaded = found
    assert plain.keys() == threaded.keys()
    assert all(torch.equal(value, threaded[key]) for key, value in plain.items())


def test_what_is_made_ahead_comes_in_order_one_at_a_time() -> None:
    begun: list[int] = []

    def make(number: int) -> int:
        if number == 7:
            raise RunError("no seventh")
        begun.append(number)
        return number

    made = one_ahead(make, range(3, 9), torch.device("cpu"))
    assert next(made) == 3
    assert set(begun) <= {3, 4}
    assert [next(made) for _ in range(3)] == [4, 5, 6]
    with pytest.raises(RunError, match="no seventh"):
        next(made)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_weight_that_is_not_finite_is_found(tmp_path: Path, value: float) -> None:
    with closing(collected(tmp_path / "run")) as run:
        weight = next(p for p in run.agent.critic.parameters() if p.requires_grad)
        step = run.learner.optimizer.step

        def broken() -> None:
            step()
            weight.data.view(-1)[-1] = value

        run.learner.optimizer.step = broken  # type: ignore[method-assign,assignment]
        with pytest.raises(NonFiniteError, match="a weight is not finite by update 1"):
            run.learner.learn(1)


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


@pytest.mark.parametrize(("decay", "shares"), [(True, [1.0, 0.5, 0.125]), (None, [1.0, 1.0, 1.0])])
def test_the_learning_rate_falls_to_zero_if_asked(decay: bool | None, shares: list[float]) -> None:
    learning = {"learning_rate_decay": decay, "updates_per_epoch": 4, "warmup_updates": 0}
    config = small(learner=learning, collector={"epochs": 3, "warmup_epochs": 1})
    learner = Learner(config, make_agent(config, BOXES, DISCRETE), None)
    for updates, share in zip((0, 4, 7), shares, strict=True):
        learner.updates = updates
        learner._set_learning_rate()
        assert learner.optimizer.param_groups[0]["lr"] == config.learner.learning_rate * share
