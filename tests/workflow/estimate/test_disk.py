"""What DVC will have to keep, guessed before anything is trained."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from amago2.config.layers import Layer
from amago2.env.spaces import ActionSpec
from amago2.training.checkpoint import make_agent
from tests.workflow import project
from workflow.config.parameters import Parameters
from workflow.estimate import disk

PARAMS = Parameters(project.ROOT / "params")
VARIANT = "ind_actor_ind_critic"


@pytest.mark.parametrize("variant", [VARIANT, "dep_actor_dep_critic"])
def test_parameters_are_counted_nearly_right(variant: str) -> None:
    config = PARAMS.resolve("popgym", variant, "smoke")
    boxes = {"o": gym.spaces.Box(-1, 1, (disk.INPUTS,), np.float32)}
    agent = make_agent(config, boxes, ActionSpec("discrete", disk.ACTIONS))
    trained = [
        value.numel() for name, value in agent.named_parameters() if not name.startswith("target_")
    ]
    assert 0.8 < disk.parameters(config) / sum(trained) < 1.2


def test_replay_is_as_long_as_its_capacity_or_as_what_is_collected() -> None:
    few, many = (PARAMS.resolve("procgen_easy", VARIANT, name) for name in ("smoke", "paper"))
    assert disk.stored_steps(few) == 6_400
    assert disk.stored_steps(many) == many.replay.capacity
    assert disk.guess(few).replay == 6_400 * disk.STEP_BYTES["envs.procgen"]


def test_replay_that_is_not_versioned_costs_nothing_and_renames_no_run() -> None:
    config = PARAMS.resolve("procgen_easy", VARIANT, "smoke")
    without = Layer("test", {"checkpoint": {"with_replay": False}})
    other = PARAMS.resolve("procgen_easy", VARIANT, "smoke", 0, [without])
    assert other.run_name == config.run_name
    assert disk.guess(other) == disk.guess(config)._replace(replay=0)


def test_pointers_say_it_exactly_and_correct_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    one, other = (
        run for run in project.the_plan().runs.values() if run.config.benchmark == "popgym"
    )
    guessed = disk.guess(other.config)
    one.folder.mkdir(parents=True)
    size = 3 * disk.guess(one.config).checkpoint
    for pointer in one.pointers:
        pointer.write_text(f"outs: [{{md5: a.dir, size: {size}, path: {pointer.stem}}}]\n")
    assert disk.add_up([one]) == (size, size)
    assert disk.add_up([one, other]).checkpoint == size + 3 * guessed.checkpoint
