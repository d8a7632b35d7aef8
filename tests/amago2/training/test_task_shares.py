from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import get_total_norm

from amago2.replay.batches import make_batch
from amago2.rollout.collector import Collector
from amago2.seeding import Stream, numpy_rng, torch_rng
from amago2.training import task_shares
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.task_shares import measure
from tests.amago2.toy import small

TASKS = ["left", "right"]


def trainer(folder: Path, **over: Any) -> AmagoTrainer:
    """After two updates."""
    folder.mkdir()
    run = AmagoTrainer(small(**over), folder)
    assert isinstance(run.collector, Collector)
    run.collector.reset()
    run.collector.collect(0)
    run.learner.learn(2)
    run.close()
    return run


def measured(run: AmagoTrainer) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for name, task, value in measure(run.config, run.agent, run.replay, run.parameters, 2):
        values.setdefault(name, {})[task] = value
    return values


def test_shares_add_up_to_the_losses_and_change_nothing(
    tmp_path: Path, actor: str, critic: str
) -> None:
    run = trainer(tmp_path / "run", agent={"actor": actor, "critic": critic})
    state = {k: v.clone() for k, v in run.agent.state_dict().items()}
    gradients = [p.grad.clone() for p in run.parameters if p.grad is not None]
    values = measured(run)
    assert all(torch.equal(v, state[k]) for k, v in run.agent.state_dict().items())
    found = [p.grad for p in run.parameters if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(gradients, found, strict=True))
    assert measured(run) == values

    counters = (0, Stream.MEASUREMENT, 2)
    sample = run.replay.sample(numpy_rng(*counters), 8, 5)
    batch = make_batch(*sample, run.agent.actions)
    loss, metrics = run.agent.train().loss(batch, torch_rng(*counters))
    for kind in ("actor", "critic"):
        parts = values[f"task_loss_{kind}"]
        assert list(parts) == run.replay.tasks
        assert sum(parts.values()) == pytest.approx(float(metrics[f"loss_{kind}"]), rel=1e-5)
    norms = values["task_grad_norm_actor"], values["task_grad_norm_critic"]
    whole = float(get_total_norm(torch.autograd.grad(loss, run.parameters)))
    weight = run.config.agent.critic_loss_weight
    assert whole <= sum(norms[0].values()) + weight * sum(norms[1].values()) + 1e-5
    assert whole > 0


def test_a_task_that_the_batch_lacks_has_no_share(tmp_path: Path) -> None:
    run = trainer(tmp_path / "run")
    run.replay.tasks.append("absent")
    values = measured(run)
    assert all(parts["absent"] == 0 for parts in values.values())
    assert values["task_grad_norm_critic"]["left"] > 0


def test_the_tasks_are_those_of_the_sampled_rows(tmp_path: Path) -> None:
    """Toy's first observation tells its task: 0 is left, 1 is right."""
    run = trainer(tmp_path / "run")
    records, _ = run.replay.sample(np.random.default_rng(3), 50, 5)
    tasks = run.replay.sampled_tasks(np.random.default_rng(3), 50)
    signs = records["observation.o"][:, 0, 0]
    assert [run.replay.tasks[i] for i in tasks] == [TASKS[int(s)] for s in signs]
    assert len(set(tasks.tolist())) == 2


def test_many_tasks_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tmp_path / "run")
    monkeypatch.setattr(task_shares, "MOST_TASKS", 1)
    assert measured(run) == {}
