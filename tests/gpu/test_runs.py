"""Whole runs on a CUDA device, and what they wait for; no number that a kernel computes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amago2.agent.agent import make_agent
from amago2.replay.shards import record_type
from amago2.training.amago_trainer import train
from amago2.training.learner import Learner
from amago2.training.run import run_trainer
from amago2.training.torch_settings import torch_settings
from tests.amago2.agent.test_agent import BOXES, CONTINUOUS, DISCRETE
from tests.amago2.toy import small
from tests.amago2.training.test_train import interrupted_at
from tests.workflow.baselines.test_baselines import ppo_config, sac_config, stop_at
from workflow.baselines.ppo_gru import PpoTrainer
from workflow.baselines.sac import SacTrainer

pytestmark = pytest.mark.gpu
VARIANTS = [
    (actor, critic)
    for actor in ("filtered_imitation", "policy_gradient")
    for critic in ("two_hot", "popart")
]


@contextmanager
def no_waits() -> Iterator[None]:
    """Raise where the host would wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def check_whole(run: Path, updates: int, resumptions: int) -> None:
    """Check that a run was made on the device, and that it was resumed and evaluated."""
    record = json.loads((run / "record.json").read_text())
    assert (record["device"], record["updates"]) == ("cuda", updates)
    assert record["resumptions"] == resumptions
    assert (run / "evaluations.csv").read_text().count("\n") > 1


@pytest.mark.parametrize(("actor", "critic"), VARIANTS)
def test_every_variant_trains_is_evaluated_and_resumes(
    tmp_path: Path, actor: str, critic: str
) -> None:
    config = small(device="cuda", agent={"actor": actor, "critic": critic})
    interrupted_at(config, tmp_path / "run", epoch=3)
    check_whole(train(config, tmp_path / "run"), updates=24, resumptions=1)


@pytest.mark.parametrize(
    ("make", "config", "resumptions"), [(PpoTrainer, ppo_config, 1), (SacTrainer, sac_config, 0)]
)
def test_the_baselines_too(make: Any, config: Any, resumptions: int, tmp_path: Path) -> None:
    """SAC starts again instead."""
    made = config(device="cuda")
    stop_at(make, made, tmp_path / "run", 3)
    check_whole(run_trainer(make, made, tmp_path / "run"), made.updates, resumptions)


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize(("actor", "critic"), VARIANTS)
def test_neither_an_update_nor_a_policy_waits_for_the_device(
    actor: str, critic: str, spec: Any
) -> None:
    config = small(device="cuda", agent={"actor": actor, "critic": critic})
    records = np.zeros((4, 6), record_type(BOXES, spec))
    records["time"] = np.arange(6)
    lengths = np.array([6, 6, 4, 2])
    with torch_settings(config):
        agent = make_agent(config, BOXES, spec)
        learner, rng = Learner(config, agent.train(), None), torch.Generator("cuda")
        learner.step(records, lengths)  # the optimiser and the libraries begin
        with no_waits():
            learner.step(records, lengths)
        memory = agent.eval().initial_memory(3)
        seen = {key: torch.zeros(3, *box.shape, device="cuda") for key, box in BOXES.items()}
        reward, action = torch.zeros(3, device="cuda"), torch.zeros(3, spec.size, device="cuda")
        agent.act(seen, reward, action, memory, rng)
        with no_waits():
            agent.act(seen, reward, action, memory, rng)


def test_products_are_of_the_precision_that_the_record_says(tmp_path: Path) -> None:
    run = train(small(device="cuda", learner={"precision": "float32"}), tmp_path / "run")
    assert json.loads((run / "record.json").read_text())["precision"] == "float32"
