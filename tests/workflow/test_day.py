"""The budget `day`: what it costs, that it is made to its end, and that its agents train.

Its networks would take hours on a processor: here they are tiny, and what they train on is short.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, RunConfig
from amago2.env.stored_spaces import read_spaces
from amago2.replay.shards import record_type
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.run import run_trainer
from tests.workflow.estimate.configs import PARAMS
from workflow.config.experiments import Matrix, Selection, matrices
from workflow.config.requirements import lacking
from workflow.estimate.hardware import hardware
from workflow.estimate.resources import gpus
from workflow.estimate.shapes import shapes
from workflow.estimate.training_time import estimated_seconds

TINY: dict[str, Any] = {
    "device": "cpu",
    "agent": {"bins": 16, "discounts": [0.9], "head_hidden_sizes": [16], "num_critics": 2},
    "trajectory_encoder": {
        "context_length": 8, "width": 16, "layers": 1, "heads": 2, "feedforward_size": 16,
    },
    "learner": {"precision": None, "batch_size": 2, "updates_per_epoch": 1},
    "collector": {"actors": 3, "steps_per_epoch": 40, "epochs": 1},
    "evaluation": {"every": 1, "rollouts": 1, "final_rollouts": 1, "actors": 4},
}  # fmt: skip
SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "ml45": (
        "dep_actor_ind_critic",
        {
            "kwargs": {"tasks": ["reach-v3", "push-v3"], "attempt_steps": 10},
            "eval_sets": {"test_tasks": {"tasks": ["door-lock-v3"]}},
        },
    ),
    "popgym": ("ind_actor_ind_critic", {}),
    "procgen_easy_rescaled": ("dep_actor_dep_critic", {"kwargs": {"horizon": 30}}),
    "atari": ("ind_actor_ind_critic", {"kwargs": {"max_frames": 120}}),
    "babyai": ("dep_actor_dep_critic", {"kwargs": {"attempt_steps": 15}}),
}
IMAGES = ("procgen_easy_rescaled", "atari")


@pytest.mark.parametrize("name", SHORT)
def test_its_agents_train_when_shortened(name: str, tmp_path: Path) -> None:
    if sentence := lacking(name):
        pytest.skip(sentence)
    variant, env = SHORT[name]
    tiny = {"timestep_encoder": {"channels": [4], "features": 16}} if name in IMAGES else {}
    over = [Layer("tiny", TINY | tiny), Layer("short", {"env": env})]
    config = PARAMS.resolve(name, variant, "day", 0, over)
    assert isinstance(config, AmagoConfig)
    run = run_trainer(AmagoTrainer, config, tmp_path / "run")
    with (run / "evaluations.csv").open() as file:
        found = {(row["split"], row["task"]) for row in csv.DictReader(file)}
    content = json.loads((run / "checkpoint" / "state.json").read_text())
    record = record_type(*read_spaces(content["spaces"]))
    assert shapes(config).record_bytes == record.itemsize
    given = config.env.kwargs
    chosen = given.get("tasks") or given["games"]
    training = {task for split, task in found if split != "test_tasks"}
    assert len(training) == len(chosen)
    assert len(found) - len(training) == {"ml45": 1, "babyai": 4}.get(name, 0)


def test_a_day_of_an_a100_is_enough() -> None:
    """Runs one after the other, though small ones share a GPU."""
    runs = _runs(_matrices("day"))
    gpu = hardware().gpus["A100 80GB"]
    hours = sum(estimated_seconds(config, gpu) for config in runs.values()) / 3600
    assert 12 < hours <= 24
    variants = {config.variant for config in runs.values() if config.benchmark == "ml45"}
    assert variants == {f"{a}_actor_{c}_critic" for a in ("ind", "dep") for c in ("ind", "dep")}


def test_extra_experiments_cost_less_than_half_of_the_papers_own() -> None:
    found = _matrices("paper")
    own = _runs([each for each in found if not each.name.startswith("ext_")])
    extra = {name: config for name, config in _runs(found).items() if name not in own}
    for gpu in hardware().gpus.values():
        hours = [
            sum(estimated_seconds(config, gpu) * gpus(config) for config in runs.values())
            for runs in (own, extra)
        ]
        assert 0 < hours[1] < 0.5 * hours[0]


def _matrices(budget: str) -> list[Matrix]:
    return matrices(PARAMS, Selection(budget=budget))


def _runs(found: list[Matrix]) -> dict[str, RunConfig]:
    return {m.config.run_name: m.config for matrix in found for m in matrix.members}
