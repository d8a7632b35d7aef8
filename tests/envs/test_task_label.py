from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from envs.atari import MultiGameAtari
from envs.babyai import MultiTaskBabyAI
from envs.contract import MultiTaskEnv
from envs.metaworld import ALL_TASKS, MultiTaskMetaWorld
from envs.popgym import MultiTaskPOPGym
from envs.return_scale import ReturnScale
from envs.task_label import KEY, TaskLabel
from tests.envs.contract_checks import check_gymnasium, rollout

POPGYM = ["RepeatFirstEasy", "HigherLowerEasy"]
CASES: dict[str, tuple[str, Callable[[], MultiTaskEnv], dict[str, Any]]] = {
    "return_scale": ("return_scale:ReturnScale", ReturnScale, {}),
    "popgym": ("popgym:MultiTaskPOPGym", MultiTaskPOPGym, {"tasks": POPGYM}),
    "babyai": ("babyai:MultiTaskBabyAI", MultiTaskBabyAI, {"task_set": "test", "split": "eval"}),
    "metaworld": (
        "metaworld:MultiTaskMetaWorld", MultiTaskMetaWorld,
        {"tasks": ["reach-v3"], "attempt_steps": 5},
    ),
    "atari": ("atari:MultiGameAtari", MultiGameAtari, {"games": ["Pong"], "max_frames": 80}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_label_is_all_that_is_added(name: str) -> None:
    of, plain, args = CASES[name]
    bare, labelled = partial(plain, **args)(), TaskLabel(of=of, **args)
    check_gymnasium(labelled)  # type: ignore[arg-type]  # a wrapper of one
    for seed in (1, 2):
        steps = rollout(labelled, seed, limit=60)  # type: ignore[arg-type]
        for step, other in zip(steps, rollout(bare, seed, limit=60), strict=True):
            label = step[0].pop(KEY)
            assert label.sum() == label.max() == 1
            assert bare.known_tasks[int(label.argmax())] == step[4]["task"]
            assert all(np.array_equal(step[0][key], other[0][key]) for key in other[0])
            assert step[0].keys() == other[0].keys()
            assert step[1:] == other[1:]
    labelled.close()
    bare.close()


def test_all_sets_of_a_benchmark_have_labels_of_one_size() -> None:
    sizes = {
        TaskLabel(of="babyai:MultiTaskBabyAI", task_set=which).observation_space[KEY].shape
        for which in ("train", "test")
    }
    assert sizes == {(68,)}
    assert MultiTaskMetaWorld(split="eval").known_tasks == ALL_TASKS


@pytest.mark.parametrize("of", ["popgym", "popgym:Simulator", "nowhere:X", "..os:system"])
def test_only_this_packages_benchmarks_can_be_named(of: str) -> None:
    with pytest.raises(ValueError, match="expected a benchmark such as popgym:MultiTaskPOPGym"):
        TaskLabel(of=of)


def test_a_slot_is_handed_on() -> None:
    env = TaskLabel(of="atari:MultiGameAtari", slot=1, games=["Pong", "Boxing"], max_frames=80)
    assert env.reset(seed=0)[1]["task"] == "Boxing"
    env.close()
