"""Recurrent PPO and SAC: formulas, masks, bits, and that they are runs like all others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amago2.config.layers import Layer
from amago2.config.schema import build_as
from amago2.errors import ConfigError
from amago2.nets.distributions import Categorical, TanhNormal
from amago2.training.run import run_trainer
from amago2.training.trainer import Trainer
from workflow.baselines import ppo
from workflow.baselines.config import PpoGruConfig, SacConfig
from workflow.baselines.ppo_gru import PpoTrainer, entropy
from workflow.baselines.sac import SacTrainer
from workflow.config.parameters import Parameters

ROOT = Path(__file__).resolve().parents[3]
COMMON: dict[str, Any] = {
    "env": {"entry_point": "tests.amago2.toy:Toy"},
    "collector": {"actors": 3, "steps_per_epoch": 12, "epochs": 4},
    "evaluation": {"every": 2, "rollouts": 2, "final_rollouts": 3, "actors": 4},
    "checkpoint": {"every": 1, "keep": 2},
}
PPO: dict[str, Any] = {
    "trainer": "ppo_gru",
    "timestep_encoder": {"hidden_sizes": [16], "output_size": 8},
    "ppo": {
        "rollout_steps": 12,
        "sequence_length": 4,
        "width": 16,
        "head_hidden_sizes": [16],
        "minibatches": 3,
    },
}
SAC: dict[str, Any] = {
    "trainer": "sac",
    "sac": {
        "hidden_sizes": [16],
        "batch_size": 8,
        "capacity": 200,
        "random_steps": 30,
        "train_frequency": 3,
    },
}
DECIDED = (
    "config.yaml",
    "metrics.csv",
    "evaluations.csv",
    "checkpoint/policy.safetensors",
    "checkpoint/trainer.safetensors",
    "checkpoint/state.json",
)


def ppo_config(**over: Any) -> PpoGruConfig:
    return build_as(PpoGruConfig, [Layer("a", COMMON), Layer("b", PPO), Layer("test", over)])


def sac_config(**over: Any) -> SacConfig:
    env = {"env": {"kwargs": {"continuous": True}}}
    layers = [Layer("a", COMMON), Layer("b", SAC), Layer("env", env), Layer("test", over)]
    return build_as(SacConfig, layers)


# --- formulas ------------------------------------------------------------------------------------


def test_advantages_are_the_sums_that_define_them() -> None:
    rng = np.random.default_rng(0)
    steps, actors, discount, trace = 9, 4, 0.9, 0.7
    reward, value, value_n = rng.standard_normal((3, steps, actors))
    ended = rng.random((steps, actors)) < 0.3
    value_n[ended & (rng.random((steps, actors)) < 0.5)] = 0
    tensors = [torch.from_numpy(array) for array in (reward, value, value_n, ended)]
    found = ppo.generalised_advantages(
        tensors[0], tensors[1], tensors[2], tensors[3], discount, trace
    )
    for n in range(actors):
        for t in range(steps):
            total, weight = 0.0, 1.0
            for k in range(t, steps):
                delta = reward[k, n] + discount * value_n[k, n] - value[k, n]
                total += weight * delta
                weight *= discount * trace
                if ended[k, n]:
                    break
            assert float(found[t, n]) == pytest.approx(total, abs=1e-12)


def test_the_loss_stops_pushing_where_the_ratio_left_its_bounds() -> None:
    ratio = torch.tensor([0.5, 0.5, 1.0, 1.1, 1.5, 1.5], dtype=torch.float64)
    advantage = torch.tensor([1.0, -1.0, 2.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    log_prob = ratio.log().requires_grad_()
    loss = ppo.clipped_loss(log_prob, torch.zeros(6, dtype=torch.float64), advantage, clip=0.2)
    expected = [-0.5, 0.8, -2.0, 1.1, -1.2, 1.5]
    assert loss.tolist() == pytest.approx(expected)
    loss.sum().backward()
    pushed = [-0.5, 0.0, -2.0, 1.1, 0.0, 1.5]  # -ratio x advantage, or nothing
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == pytest.approx(pushed)


def test_chunks_hold_every_timestep_once_and_cross_no_start() -> None:
    started = np.random.default_rng(1).random((23, 5)) < 0.15
    chunks = ppo.split_into_chunks(started, length=6)
    times, rows, valid = chunks.index(np.arange(len(chunks.row)), 6)
    seen = np.zeros(started.shape, int)
    for time, row, real in zip(times.numpy(), rows[:, 0].tolist(), valid.numpy(), strict=True):
        own = time[real]
        assert own.tolist() == list(range(own[0], own[0] + len(own)))
        assert not started[own[1:], row].any()
        assert own[0] // 6 == own[-1] // 6
        assert (time[~real] == own[-1]).all()
        seen[own, row] += 1
    assert (seen == 1).all()


def test_the_mean_leaves_padding_out() -> None:
    x, valid = torch.tensor([[1.0, 5.0], [3.0, 100.0]]), torch.tensor([[True, True], [True, False]])
    assert float(ppo.masked_mean(x, valid)) == 3.0


def test_entropies_are_those_of_torch() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, mean, log_std = torch.randn(3, 4, 5, generator=rng).unbind()
    known = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(
        entropy(Categorical.from_outputs(logits, (1e-6, 1.0))), known, atol=1e-4, rtol=1e-4
    )
    normal = torch.distributions.Normal(mean, log_std.exp()).entropy().sum(-1)
    torch.testing.assert_close(entropy(TanhNormal(mean, log_std)), normal)


# --- rounds --------------------------------------------------------------------------------------


def a_round(folder: Path, **over: Any) -> PpoTrainer:
    """A run after it has collected its second round."""
    run = PpoTrainer(ppo_config(**over), folder)
    run.start()
    for number in range(2):
        run._collect(torch.Generator().manual_seed(number))
    return run


@pytest.mark.parametrize("continuous", [False, True])
def test_unrolling_gives_what_acting_gave(tmp_path: Path, continuous: bool) -> None:
    run = a_round(tmp_path, env={"kwargs": {"continuous": continuous}})
    chunks = ppo.split_into_chunks(run.round["started"].numpy(), 4)
    assert len(chunks.row) > 3 * 3  # some rollouts start within a chunk's length
    every = np.arange(len(chunks.row))
    t, n, valid = chunks.index(every, 4)
    batch = {name: x[t, n] for name, x in run.round.items()}
    policy, value = run.agent.unroll(
        {"o": batch["observation.o"]},
        batch["previous_reward"],
        batch["previous_action"],
        run._initial_hidden(chunks, every),
    )
    log_prob = policy.log_prob(batch["action"].unsqueeze(-2)).squeeze(-1)
    torch.testing.assert_close(log_prob[valid], batch["log_prob"][valid], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value[valid], batch["value"][valid], atol=1e-5, rtol=1e-4)


def test_a_cut_rollout_is_worth_its_last_state_and_a_terminated_one_nothing(tmp_path: Path) -> None:
    run = a_round(tmp_path / "a")
    ended = run.round["ended"]
    assert ended.any()
    assert (run.round["value_n"][ended] == 0).all()
    following = run.round["value"][1:]
    assert torch.equal(run.round["value_n"][:-1][~ended[:-1]], following[~ended[:-1]])

    longer = {"ppo": {"rollout_steps": 16}, "collector": {"steps_per_epoch": 16}}
    cut = a_round(tmp_path / "b", env={"entry_point": "tests.amago2.toy:Endless"}, **longer)
    ended = cut.round["ended"]
    assert ended[:-1].any()
    at_last = cut.round["value_n"][:-1][ended[:-1]]
    assert (at_last != 0).all()
    assert not torch.isclose(
        at_last, cut.round["value"][1:][ended[:-1]]
    ).any()  # not the next one's


# --- runs ----------------------------------------------------------------------------------------


def content(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in DECIDED}


def stop_at(make: Any, config: Any, out: Path, epoch: int) -> None:
    full = Trainer._log_metrics

    def stop(self: Trainer, *args: Any) -> None:
        full(self, *args)
        if self.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_log_metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            run_trainer(make, config, out)
    assert not (out / "record.json").exists()


@pytest.mark.parametrize(("make", "config"), [(PpoTrainer, ppo_config), (SacTrainer, sac_config)])
def test_a_run_is_whole_and_goes_on_to_the_same_bits(
    make: Any, config: Any, tmp_path: Path
) -> None:
    run = run_trainer(make, config(), tmp_path / "whole")
    record = json.loads((run / "record.json").read_text())
    assert record["env_steps"] == 4 * 12 * 3
    assert record["updates"] == config().updates > 0
    assert set(record["checkpoint_sha256"]) == {p.name for p in (run / "checkpoint").iterdir()}
    assert {p.suffix for p in (run / "checkpoint").iterdir()} == {".safetensors", ".json", ".yaml"}

    stop_at(make, config(), tmp_path / "stopped", epoch=3)
    assert content(run_trainer(make, config(), tmp_path / "stopped")) == content(run)
    other = run_trainer(make, config(seed=1), tmp_path / "other")
    assert content(other)[DECIDED[3]] != content(run)[DECIDED[3]]


def test_what_a_trainer_cannot_do_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sac is defined for Box actions"):
        run_trainer(SacTrainer, sac_config(env={"kwargs": {"continuous": False}}), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"ppo\.rollout_steps 5 must divide"):
        ppo_config(ppo={"rollout_steps": 5})
    with pytest.raises(ConfigError, match=r"ppo\.minibatches 10 must be at most"):
        ppo_config(ppo={"minibatches": 10})
    with pytest.raises(ConfigError, match=r"sac\.train_frequency 5 must divide"):
        sac_config(sac={"train_frequency": 5})


# --- in the project ------------------------------------------------------------------------------


def test_each_trainer_takes_its_own_sections() -> None:
    parameters = Parameters(ROOT / "params")
    agent = parameters.resolve("popgym", "ind_actor_ind_critic", "smoke")
    baseline = parameters.resolve("popgym", "ppo_gru", "smoke")
    assert isinstance(baseline, PpoGruConfig)
    assert baseline.collector == agent.collector
    assert baseline.evaluation == agent.evaluation
    assert not hasattr(agent, "ppo")


def test_what_the_agent_alone_has_is_no_part_of_a_baselines_name() -> None:
    plain = ppo_config()
    assert ppo_config(collector={"exploration": {"anneal_steps": 7}}).hash == plain.hash
    assert ppo_config(collector={"epochs": 5}).hash != plain.hash
    assert ppo_config(ppo={"clip_range": 0.3}).hash != plain.hash


def test_mistakes_in_a_baselines_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "params"
    for kind in ("benchmarks", "budgets", "variants"):
        (folder / kind).mkdir(parents=True)
        for path in (ROOT / "params" / kind).glob("*.yaml"):
            (folder / kind / path.name).write_text(path.read_text())
    (folder / "variants" / "odd.yaml").write_text("trainer: ppo_gruu\n")
    with pytest.raises(ConfigError, match=r"odd.yaml: trainer is 'ppo_gruu': must be one of"):
        Parameters(folder).resolve("popgym", "odd", "smoke")
    (folder / "variants" / "odd.yaml").write_text("trainer: sac\n")
    with pytest.raises(ConfigError, match=r"key sac is missing"):
        Parameters(folder).resolve("popgym", "odd", "smoke")
    (folder / "variants" / "odd.yaml").write_text("trainer: ppo_gru\nagent: {bins: 3}\n")
    with pytest.raises(ConfigError, match=r"odd.yaml: unknown key agent"):
        Parameters(folder).resolve("popgym", "odd", "smoke")
