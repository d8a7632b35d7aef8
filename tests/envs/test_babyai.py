import csv
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from amago2.env.spaces import Array
from envs.babyai import (
    SEEDS,
    TASK_SETS,
    TEST_TASKS,
    TRAIN_TASKS,
    UNKNOWN,
    VOCABULARY,
    MultiTaskBabyAI,
    registered_id,
    tokenize,
)
from envs.contract import SimulatorMissing
from tests.envs.contract_checks import (
    assert_same,
    check_gymnasium,
    check_reproducible,
    check_rollout,
    global_generators_untouched,
    rollout,
)
from workflow.benchmarks.lookup import benchmark

pytest.importorskip("minigrid")

EXCLUDED = (
    "GoToSeq", "OpenRedBlueDoorsDebug", "OpenTwoDoors", "OpenDoorsOrder", "PutNext",
    "MiniBossLevel", "BossLevel", "Synth", "MoveTwoAcross",
)  # fmt: skip


def words(tokens: Array) -> list[str]:
    return [VOCABULARY[token - 2] for token in tokens if token > UNKNOWN]


def test_tasks_are_all_installed_ones_but_the_excluded() -> None:
    assert (len(TRAIN_TASKS), len(TEST_TASKS), len(set(TASK_SETS["all"]))) == (50, 18, 68)
    MultiTaskBabyAI()
    installed = {name for name in gymnasium.registry if name.startswith("BabyAI-")}
    allowed = {name for name in installed if not any(word in name for word in EXCLUDED)}
    assert {registered_id(task) for task in TASK_SETS["all"]} == allowed
    published = Path(__file__).parents[2] / "workflow/reference/fig17_babyai_tasks.csv"
    with published.open() as file:
        names = {row["panel"] for row in csv.DictReader(file)}
    described = benchmark("babyai")
    assert {described.task_name(name) for name in names} == set(TASK_SETS["all"])


def test_keeps_the_contract(capfd: pytest.CaptureFixture[str]) -> None:
    def make() -> MultiTaskBabyAI:
        return MultiTaskBabyAI(tasks=["GoToLocal", "GoToRedBlueBall", "OpenDoor"])

    check_gymnasium(make())
    check_reproducible(make, limit=150)
    env = make()
    for seed in range(5):
        check_rollout(env, rollout(env, seed))
    assert capfd.readouterr() == ("", "")


def test_every_task_fits_the_spaces_knows_its_words_and_repeats_its_layout(
    capfd: pytest.CaptureFixture[str],
) -> None:
    env = MultiTaskBabyAI(task_set="all", attempt_steps=3)
    with global_generators_untouched():
        for task in env.tasks:
            steps = rollout(env, seed=9, task=task)
            check_rollout(env, steps)
            assert len(steps) <= 1 + 3 + 1 + 3
            first = steps[0][0]
            second = next(step[0] for step in steps if step[4]["attempt"] == 1)
            assert np.array_equal(first["image"], second["image"])
            assert np.array_equal(first["mission"], second["mission"])
            assert np.array_equal(first["extra"][:4], second["extra"][:4])
            assert env._simulator is not None
            assert words(first["mission"]) == env._simulator.mission.split()  # type: ignore[attr-defined]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("task", ["GoToRedBallNoDists", "UnlockPickup", "KeyInBox", "GoToObjS6"])
def test_equals_the_bare_simulator(task: str) -> None:
    env = MultiTaskBabyAI(task_set="all", tasks=[task])
    bare: Any = gymnasium.make(registered_id(task)).unwrapped
    actions = np.random.default_rng(0)
    observation, _ = env.reset(seed=4)
    for attempt in range(2):
        if attempt == 1:
            observation, reward, terminated, *_ = env.step(2)
            assert (reward, terminated) == (0.0, False)
        seen, _ = bare.reset(seed=env._layout)
        over, total = False, 0.0
        while True:
            assert np.array_equal(observation["image"], seen["image"])
            assert observation["mission"].tolist() == tokenize(seen["mission"]).tolist()
            extra = np.append(np.eye(4)[seen["direction"]], (attempt + 1) / 2)
            assert np.array_equal(observation["extra"], extra.astype(np.float32))
            if over:
                break
            action = int(actions.integers(7))
            seen, bare_reward, terminated, truncated, _ = bare.step(action)
            over, total = terminated or truncated, total + bare_reward
            observation, reward, ended, cut, info = env.step(action)
            assert reward == bare_reward
            assert (ended, cut) == (over and attempt == 1, False)
        assert info["attempt_return"] == pytest.approx(total)
        assert info["success"] is (total > 0)


def test_the_view_is_minigrids_own_in_every_task() -> None:
    env = MultiTaskBabyAI(task_set="all", attempt_steps=60)
    env.reset(seed=0)
    actions = np.random.default_rng(0)
    compared = carried = 0
    for task in env.tasks:
        observation, _ = env.reset(options={"task": task})
        done = False
        while not done:
            simulator: Any = env._simulator
            expected = type(simulator).gen_obs(simulator)
            assert np.array_equal(observation["image"], expected["image"])
            carried, compared = carried + (simulator.carrying is not None), compared + 1
            observation, _, done, *_ = env.step(
                int(actions.choice(7, p=[0.15, 0.15, 0.3, *[0.1] * 4]))
            )
    assert compared > 5_000
    assert carried > 100


def test_success_pays_more_the_earlier_it_comes() -> None:
    """In the one-room task with a red ball only, a short random search always finds it."""
    env = MultiTaskBabyAI(tasks=["GoToRedBallNoDists"])
    ends = [
        (step[4]["success"], step[4]["attempt_return"], index)
        for seed in range(10)
        for index, step in enumerate(rollout(env, seed))
        if "success" in step[4] and step[4]["attempt"] == 0
    ]
    assert {success for success, *_ in ends} == {True, False}
    for success, value, steps in ends:
        assert value == pytest.approx(1 - 0.9 * steps / 64 if success else 0.0)


def test_splits_have_their_own_layouts() -> None:
    for split, (first, last) in SEEDS.items():
        env = MultiTaskBabyAI(split=split, tasks=["GoToObjS6"])
        env.reset(seed=0)
        layouts = []
        for _ in range(200):
            assert env.reset()[1]["split"] == split
            layouts.append(env._layout)
        assert first <= min(layouts) < first + (last - first) * 0.05
        assert last >= max(layouts) > last - (last - first) * 0.05


def test_order_of_tasks_shows_nowhere() -> None:
    names = ["GoToLocal", "OpenDoor", "Pickup"]
    forward = MultiTaskBabyAI(tasks=names, attempt_steps=20)
    backward = MultiTaskBabyAI(tasks=names[::-1], attempt_steps=20)
    for task in names:
        assert_same(rollout(forward, 3, task), rollout(backward, 3, task))


def test_tokens() -> None:
    assert len(set(VOCABULARY)) == 29
    assert tokenize("a dragon your").tolist() == [2, 1, 30, 0, 0, 0, 0, 0, 0]
    assert len(tokenize("a " * 20)) == 9
    mission = "open the red door, then open the blue door"
    assert " ".join(words(tokenize(mission))) == mission


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="task_set: unknown value 'eval'"):
        MultiTaskBabyAI(task_set="eval")
    with pytest.raises(ValueError, match="tasks: unknown value 'GoToObj'"):
        MultiTaskBabyAI(task_set="train", tasks=["GoToObj"])
    with pytest.raises(ValueError, match="split: unknown value 'test'"):
        MultiTaskBabyAI(split="test")
    monkeypatch.setitem(__import__("sys").modules, "minigrid", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[babyai\]'"):
        MultiTaskBabyAI()


def test_renders_the_whole_grid_as_it_is_now() -> None:
    env = MultiTaskBabyAI(tasks=["GoToRedBall"])
    assert env.render_mode == "rgb_array"
    env.reset(seed=0)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.shape == (8 * 16, 8 * 16, 3)
    env.step(0)  # turns left
    assert (env.render() != before).any()
