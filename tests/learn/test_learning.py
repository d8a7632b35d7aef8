"""Training that takes minutes and must show the effect: `make learn-check`."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build_as
from amago2.training.amago_trainer import train
from amago2.training.run import run_trainer
from workflow.baselines.config import PpoGruConfig
from workflow.baselines.ppo_gru import PpoTrainer
from workflow.bench.learning import cue_recall_config, learning, tiny_config

pytestmark = pytest.mark.learn

SOLVED, UNSOLVED = 0.9, 0.4
"""Shares of the maximal return; a random policy has a quarter of it."""


def finish(config: AmagoConfig, folder: Path) -> tuple[dict[int, dict[str, float]], float]:
    """Mean return by step and task, and the CPU seconds that the run took."""
    return results(train(config, folder / "run"))


def results(run: Path) -> tuple[dict[int, dict[str, float]], float]:
    """The same of a finished run."""
    sums: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (run / "evaluations.csv").open() as file:
        for row in csv.DictReader(file):
            if row["metric"] == "return":
                sums[int(row["step"])][row["task"]].append(float(row["value"]))
    means = {
        step: {task: sum(values) / len(values) for task, values in tasks.items()}
        for step, tasks in sums.items()
    }
    return means, json.loads((run / "record.json").read_text())["cpu_s"]


def test_repeat_previous_with_dependent_losses(tmp_path: Path) -> None:
    returns, seconds = finish(tiny_config("dep_actor_dep_critic"), tmp_path)
    print({step: round(tasks["RepeatPreviousEasy"], 3) for step, tasks in returns.items()}, seconds)
    assert max(returns) <= 25_000
    assert max(tasks["RepeatPreviousEasy"] for tasks in returns.values()) > 0.95
    assert seconds <= 120


def test_repeat_previous_with_independent_losses() -> None:
    """With discounts that suit rewards which no earlier action moves, and three updates for two.

    When attention finds the fourth card back is chance: two of three seeds must get there.
    """
    found = [learning("repeat_previous/ind_actor_ind_critic", seed) for seed in ("0", "1", "2")]
    print(*found, sep="\n")
    assert max(one["steps"] for one in found) <= 60_000
    assert sum(one["cpu_s"] is not None for one in found) >= 2


def test_repeat_previous_with_ppo_gru(tmp_path: Path) -> None:
    """Beyond what a policy without memory can do, which is to guess one suit in four."""
    task = tiny_config("dep_actor_dep_critic").env.model_dump()
    settings = {
        "trainer": "ppo_gru",
        "env": task,
        "timestep_encoder": {"hidden_sizes": [64], "output_size": 64},
        "ppo": {
            "rollout_steps": 128, "sequence_length": 64, "width": 64, "head_hidden_sizes": [64],
            "discount": 0.9, "learning_rate": 1e-3, "entropy_weight": 0.005,
        },
        "collector": {"actors": 32, "steps_per_epoch": 256, "epochs": 18},
        "evaluation": {"every": 3, "rollouts": 20, "final_rollouts": 50},
    }  # fmt: skip
    config = build_as(PpoGruConfig, [Layer("test", settings)])
    returns, seconds = results(run_trainer(PpoTrainer, config, tmp_path / "run"))
    print({step: round(tasks["RepeatPreviousEasy"], 3) for step, tasks in returns.items()}, seconds)
    assert max(returns) <= 150_000
    assert returns[max(returns)]["RepeatPreviousEasy"] > 0.9
    assert seconds <= 120


def scores(variant: str, cell: str, folder: Path) -> dict[float, list[float]]:
    """Final score of each task as a share of the maximal return, by scale."""
    config = cue_recall_config(variant, cell)
    returns, seconds = finish(config, folder)
    by_scale: dict[float, list[float]] = defaultdict(list)
    for task, value in returns[max(returns)].items():
        scale = float(task.rpartition("_x")[2])
        by_scale[scale].append(value / scale)
    print(variant, cell, {s: [round(x, 2) for x in xs] for s, xs in by_scale.items()}, seconds)
    assert seconds <= 180
    return by_scale


def test_dependent_losses_hear_only_large_rewards(tmp_path: Path) -> None:
    found = scores("dep_actor_dep_critic", "scaled", tmp_path)
    assert min(found[1000]) >= SOLVED
    assert max(found[1] + found[10]) <= UNSOLVED


def test_independent_losses_hear_all(tmp_path: Path) -> None:
    found = scores("ind_actor_ind_critic", "scaled", tmp_path)
    assert min(min(values) for values in found.values()) >= SOLVED


@pytest.mark.parametrize("variant", ["ind_actor_ind_critic", "dep_actor_dep_critic"])
def test_with_equal_rewards_both_solve_all(variant: str, tmp_path: Path) -> None:
    assert min(scores(variant, "equal", tmp_path)[1]) >= SOLVED
