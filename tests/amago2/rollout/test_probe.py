"""The linear probe: known answers, and what a run writes of it."""

import csv
from pathlib import Path

import pytest
import torch

from amago2.agent.agent import make_agent
from amago2.env.make import make_vector_env
from amago2.rollout import probe
from amago2.training.amago_trainer import train
from tests.amago2.toy import LENGTH, small


def states(count: int, shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` states (.., 6) of each of three tasks, whose means are `shift` apart."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat_interleave(count)
    x = torch.randn(len(y), 6, generator=rng, dtype=torch.float64)
    x[torch.arange(len(y)), y] += shift
    return 100 * x + 7, y + 4  # of another scale, and tasks that do not count from 0


def share(shift: float) -> float:
    x, y = states(60, shift, seed=0)
    other, truth = states(200, shift, seed=1)
    return float((probe.fit_predict(x, y, other, penalty=0.01) == truth).double().mean())


def test_the_probe_reads_what_is_there_and_nothing_else() -> None:
    assert share(shift=8) == 1.0
    assert share(shift=0) == pytest.approx(1 / 3, abs=0.06)
    # With unit noise and means 2 apart along three axes the best classifier is right in 82.6 %
    # of the cases: E[Phi(z + 2)^2] over z ~ N(0, 1).
    assert share(shift=2) == pytest.approx(0.826, abs=0.04)


def test_the_fit_is_the_minimum_of_its_objective() -> None:
    """Two classes on one axis: the regression's slope solves one equation."""
    x = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1])
    found = {}
    for penalty in (0.01, 1.0):
        weights: list[torch.Tensor] = []
        original = torch.optim.LBFGS.step

        def step(self: torch.optim.LBFGS, closure, original=original, weights=weights):  # type: ignore[no-untyped-def]
            loss = original(self, closure)
            weights.append(self.param_groups[0]["params"][0].detach().clone())
            return loss

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.LBFGS, "step", step)
            probe.fit_predict(x, y, x, penalty)
        found[penalty] = float(weights[0][0, 1])
    for penalty, w in found.items():  # classes weigh -w and w: d/dw of the objective is 0
        assert 2 / (1 + torch.tensor(2 * w).exp()) == pytest.approx(2 * penalty * w, abs=1e-5)


def test_of_an_agents_own_rollouts() -> None:
    """The task is shown at the first step only; later a memory that was never trained blurs it."""
    config = small()
    envs = make_vector_env(config.env, 4)
    agent = make_agent(config, envs.observations, envs.actions)
    rows = probe.probe(agent, envs, "train", rollouts=200, penalty=0.01, seed=0, counter=0)
    assert [(row.timestep, row.source) for row in rows] == [
        (timestep, source) for timestep in (0, 1, 2, 4) for source in probe.SOURCES
    ]
    assert {(row.split, row.chance, row.tasks, row.rollouts) for row in rows} == {
        ("train", 0.5, 2, 200)
    }
    found = {(row.source, row.timestep): row.accuracy for row in rows}
    assert found["input", 0] == found["memory", 0] == 1.0
    assert 0.7 < found["memory", 1] < 1
    assert found["memory", LENGTH - 1] < found["memory", 1]
    again = probe.probe(agent, envs, "train", rollouts=200, penalty=0.01, seed=0, counter=0)
    assert again == rows


def test_hooks_leave_the_agent_as_it_was() -> None:
    config = small()
    envs = make_vector_env(config.env, 2)
    agent = make_agent(config, envs.observations, envs.actions)
    probe.probe(agent, envs, "train", rollouts=2, penalty=0.01, seed=0, counter=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in agent.modules())


def test_a_run_publishes_it_and_its_name_says_so(tmp_path: Path) -> None:
    plain = small(collector={"epochs": 2})
    config = small(collector={"epochs": 2}, evaluation={"probe": {"rollouts": 4}})
    assert config.hash != plain.hash
    run = train(config, tmp_path / "probed")
    with (run / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["timestep"] for row in rows} == {"0", "1", "2", "4"}
    assert {row["step"] for row in rows} == {str(2 * 12 * 3)}
    without = train(plain, tmp_path / "plain")
    assert not (without / "probe.csv").exists()
    weights = "checkpoint/policy.safetensors"
    assert (run / weights).read_bytes() == (without / weights).read_bytes()
