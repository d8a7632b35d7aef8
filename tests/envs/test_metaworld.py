import csv
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from envs import metaworld
from envs.contract import SimulatorMissing
from envs.metaworld import (
    ALL_TASKS,
    TEST_TASKS,
    TRAIN_TASKS,
    MultiTaskMetaWorld,
)
from tests.envs.contract_checks import (
    assert_same,
    check_gymnasium,
    check_reproducible,
    check_rollout,
    global_generators_untouched,
    rollout,
)
from workflow.benchmarks.lookup import benchmark

env_dict = pytest.importorskip("metaworld.env_dict")


def test_tasks_are_those_of_the_installed_ml45() -> None:
    assert tuple(env_dict.ML45_V3["train"]) == TRAIN_TASKS
    assert tuple(env_dict.ML45_V3["test"]) == TEST_TASKS
    assert (len(TRAIN_TASKS), len(TEST_TASKS)) == (45, 5)
    published = Path(__file__).parents[2] / "workflow/reference/fig18_24_ml45_tasks.csv"
    with published.open() as file:
        names = {row["panel"].split("/")[0] for row in csv.DictReader(file)}
    described = benchmark("ml45")
    assert {described.task_name(name) for name in names} == set(TRAIN_TASKS)


def test_keeps_the_contract() -> None:
    tasks = ["reach-v3", "drawer-close-v3"]
    check_gymnasium(MultiTaskMetaWorld(tasks=tasks, attempt_steps=5))
    check_reproducible(lambda: MultiTaskMetaWorld(tasks=tasks, attempt_steps=8))
    env = MultiTaskMetaWorld(tasks=tasks, attempt_steps=7)
    assert env.observation_space["observation"].shape == (40,)
    steps = rollout(env, seed=0)
    check_rollout(env, steps)
    assert len(steps) == 1 + 3 * 7
    assert steps[-1][2:4] == (True, False)


def test_scaled_rewards_go_to_the_agent_and_raw_ones_to_the_record() -> None:
    tasks, scales = ["reach-v3", "drawer-close-v3"], {"drawer-close-v3": 1000}
    plain = MultiTaskMetaWorld(tasks=tasks, attempt_steps=5)
    scaled = MultiTaskMetaWorld(tasks=tasks, attempt_steps=5, reward_scales=scales)
    for task, factor in (("reach-v3", 1), ("drawer-close-v3", 1000)):
        raw, changed = (rollout(env, 0, task) for env in (plain, scaled))
        for a, b in zip(raw, changed, strict=True):
            assert b[1] == a[1] * factor
            assert a[4] == b[4]
            assert np.array_equal(a[0]["observation"], b[0]["observation"])
        assert any(step[1] for step in raw)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "ten"])
def test_a_scale_that_is_no_positive_number_is_refused(scale: Any) -> None:
    with pytest.raises(ValueError, match="reward_scales: reach-v3: expected a positive number"):
        MultiTaskMetaWorld(tasks=["reach-v3"], reward_scales={"reach-v3": scale})


def test_every_task_fits_the_spaces_and_hides_its_goal() -> None:
    env = MultiTaskMetaWorld(tasks=ALL_TASKS)
    env.reset(seed=0)
    with global_generators_untouched():
        for task in ALL_TASKS:
            first, info = env.reset(options={"task": task})
            second, reward, *_ = env.step(env.action_space.sample())
            assert info == {"task": task, "split": "train", "attempt": 0}
            for observation, flag in ((first, 1), (second, 0)):
                assert env.observation_space.contains(observation)
                assert np.isfinite(observation["observation"]).all()
                assert observation["observation"][36:].tolist() == [0, 0, 0, flag]
            assert 0 <= reward <= 10


def bare_simulator(env: MultiTaskMetaWorld) -> Any:
    """Meta-World's own environment of the running task, set up through its own `set_task`.

    With rewards in float64 under every NumPy, as ours.
    """
    from metaworld.types import Task

    simulator = env_dict.ALL_V3_ENVIRONMENTS[env._task]()
    data = {
        "rand_vec": env._simulator.variant,
        "env_cls": type(simulator),
        "partially_observable": True,
    }
    simulator.set_task(Task(env._task, pickle.dumps(data)))
    evaluate = simulator.evaluate_state
    simulator.evaluate_state = lambda seen, action: evaluate(seen, action.astype(np.float64))
    return simulator


@pytest.mark.parametrize(
    ("task", "steps"), [("drawer-close-v3", 500), ("pick-place-v3", 60), ("door-lock-v3", 60)]
)
def test_equals_the_bare_simulator(task: str, steps: int) -> None:
    env = MultiTaskMetaWorld(tasks=[task], attempt_steps=steps)
    observation, _ = env.reset(seed=3)
    bare = bare_simulator(env)
    actions = np.random.default_rng(0)
    for attempt in range(3):
        expected, _ = bare.reset()
        solved = False
        assert np.array_equal(observation["observation"][:39], expected.astype(np.float32))
        assert observation["observation"][39] == 1
        rewards = []
        for step in range(steps):
            action = actions.uniform(-1, 1, 4).astype(np.float32)
            expected, bare_reward, _, _, bare_info = bare.step(action)
            solved |= bool(bare_info["success"])
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(bare_reward)
            assert reward == bare_reward
            assert terminated == (attempt == 2 and step == steps - 1)
            assert not truncated
            if step < steps - 1 or attempt == 2:
                shown = observation["observation"]
                assert np.array_equal(shown[:39], expected.astype(np.float32))
                assert shown[39] == 0
        assert info["attempt"] == attempt
        assert info["attempt_return"] == pytest.approx(sum(rewards))
        assert info["success"] is solved


def test_every_task_equals_the_bare_simulator_while_fingers_close_on_the_object() -> None:
    grasped = 0.0
    for task in ALL_TASKS:
        env = MultiTaskMetaWorld(tasks=[task])
        env.reset(seed=3)
        ours, bare = env._simulator.env, bare_simulator(env)
        assert np.array_equal(ours.reset()[0], bare.reset()[0]), task
        for step in range(40):
            towards = 10 * (ours._get_pos_objects()[:3] - ours.tcp_center)
            action = np.clip([*towards, 1 if step > 20 else -1], -1, 1).astype(np.float32)
            expected, reward, _, _, info = bare.step(action)
            shown, given, _, _, told = ours.step(action.astype(np.float64))
            assert np.array_equal(shown, expected), task
            assert (given, told) == (reward, info), task
            grasped += info["grasp_success"]
    assert grasped > 100  # so both answers of touching_object were seen


@pytest.mark.filterwarnings("ignore:Constant")  # the expert asks for more than the arm's range
def test_an_expert_succeeds_in_every_attempt() -> None:
    from metaworld.policies import SawyerDrawerCloseV3Policy

    env = MultiTaskMetaWorld(tasks=["drawer-close-v3"], attempt_steps=110)
    expert = SawyerDrawerCloseV3Policy()
    observation, _ = env.reset(seed=0)
    outcomes, done = [], False
    while not done:
        action = np.clip(expert.get_action(observation["observation"][:39].astype(float)), -1, 1)
        observation, _, done, _, info = env.step(action)
        if "success" in info:
            outcomes.append(info["success"])
    assert outcomes == [True, True, True]


def test_success_at_any_step_counts_and_is_forgotten_by_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = MultiTaskMetaWorld(tasks=["reach-v3"], attempts=2, attempt_steps=4)
    env.reset(seed=0)
    told = iter([0.0, 1.0, 0.0, 0.0] + [0.0] * 4)

    def step(action: object) -> tuple[Any, ...]:
        return np.zeros(39), 0.0, False, False, {"success": next(told)}

    monkeypatch.setattr(env._simulator.env, "step", step)
    infos = [env.step(np.zeros(4))[4] for _ in range(8)]
    assert [info.get("success") for info in infos] == [None] * 3 + [True] + [None] * 3 + [False]


def test_actions_outside_the_box_are_clipped() -> None:
    env = MultiTaskMetaWorld(tasks=["reach-v3"], attempt_steps=5)
    shown = []
    for size in (1.0, 7.0):
        env.reset(seed=0)
        shown.append([env.step(np.full(4, size))[0]["observation"] for _ in range(5)])
    assert np.array_equal(shown[0], shown[1])


def variants(count: int, **arguments: Any) -> list[bytes]:
    """The distinct variants that `count` rollouts meet."""
    env = MultiTaskMetaWorld(tasks=["reach-v3"], **arguments)
    env.reset(seed=0)
    seen = set()
    for _ in range(count):
        env.reset()
        seen.add(env._simulator.variant.tobytes())
    return sorted(seen)


def test_variants_are_a_fixed_set_which_split_and_seed_choose() -> None:
    train = variants(40, variants=5)
    assert len(train) == 5
    assert variants(40, variants=5) == train
    assert not set(variants(40, variants=5, split="eval")) & set(train)
    assert not set(variants(40, variants=5, variant_seed=1)) & set(train)
    assert len(variants(60)) > 25  # of 50


def test_variants_follow_the_simulators_own_distribution() -> None:
    env = MultiTaskMetaWorld(tasks=["reach-v3"])
    env.reset(seed=0)
    space = env._simulator.env._random_reset_space
    drawn = np.array([np.frombuffer(v) for v in variants(100)])  # (about 43, 6)
    wide = space.high > space.low
    share = (drawn - space.low)[:, wide] / (space.high - space.low)[wide]
    assert ((share >= 0) & (share <= 1)).all()
    assert share.mean(0) == pytest.approx(np.full(wide.sum(), 0.5), abs=0.15)


def test_splits_have_their_tasks() -> None:
    assert MultiTaskMetaWorld().tasks == TRAIN_TASKS
    held_out = MultiTaskMetaWorld(split="eval")
    assert held_out.tasks == TEST_TASKS
    assert held_out.reset(seed=0)[1]["split"] == "eval"
    assert MultiTaskMetaWorld(split="eval", tasks=["reach-v3"]).tasks == ("reach-v3",)


def test_order_of_tasks_shows_nowhere() -> None:
    names = ["push-v3", "reach-v3"]
    forward = MultiTaskMetaWorld(tasks=names, attempt_steps=6)
    backward = MultiTaskMetaWorld(tasks=names[::-1], attempt_steps=6)
    for task in names:
        assert_same(rollout(forward, 3, task), rollout(backward, 3, task))


def test_environments_of_one_model_do_not_disturb_each_other() -> None:
    """Both tasks have the same model, which each changes in its copy."""
    tasks = ["drawer-open-v3", "drawer-close-v3"]
    first, second, alone = (MultiTaskMetaWorld(tasks=tasks, attempt_steps=9) for _ in range(3))
    expected = [rollout(alone, 1, tasks[0]), rollout(alone, 2, tasks[1])]
    for env, seed, task in ((first, 1, tasks[0]), (second, 2, tasks[1])):
        env.action_space.seed(0)
        env.reset(seed=seed, options={"task": task})
    assert first._simulator.env.fullpath == second._simulator.env.fullpath
    for index in range(1, len(expected[0])):
        for env, steps in zip((first, second), expected, strict=True):
            shown = env.step(env.action_space.sample())[0]["observation"]
            assert np.array_equal(shown, steps[index][0]["observation"])


def test_a_simulator_that_is_no_longer_used_is_freed_at_once() -> None:
    env = MultiTaskMetaWorld(tasks=["reach-v3"], attempt_steps=5)
    env.reset(seed=0)
    gone = weakref.ref(env._simulator.env)
    env.reset()
    assert gone() is None
    gone = weakref.ref(env._simulator.env)
    env.close()
    assert gone() is None
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4))
    env.reset(seed=1)


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="tasks: unknown value 'reach-v2'; choose from reach-v3"):
        MultiTaskMetaWorld(tasks=["reach-v2"])
    with pytest.raises(ValueError, match="attempt_steps: expected 1 to 500, not 501"):
        MultiTaskMetaWorld(attempt_steps=501)
    with pytest.raises(ValueError, match="split: unknown value 'test'"):
        MultiTaskMetaWorld(split="test")
    monkeypatch.setitem(__import__("sys").modules, "metaworld.env_dict", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[metaworld\]'"):
        MultiTaskMetaWorld()


def test_a_missing_window_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(module: str, extra: str) -> None:
        raise SimulatorMissing from ImportError("Failed to load GLFW3 shared library.")

    monkeypatch.setattr(metaworld, "require", fails)
    with pytest.raises(SimulatorMissing, match=r"apt-get install libx11-6"):
        MultiTaskMetaWorld()


def test_a_missing_renderer_is_told_from_a_missing_simulator() -> None:
    code = "from envs.metaworld import MultiTaskMetaWorld; MultiTaskMetaWorld()"
    environment = {**os.environ, "MUJOCO_GL": "nonesuch"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    said = done.stderr.splitlines()[-1]
    assert said.startswith("envs.contract.SimulatorMissing: the simulator package `mujoco` finds")
    assert "MUJOCO_GL=nonesuch" in said
    assert "unset MUJOCO_GL" in said
    assert "libegl1" in said


DRAW = """
import numpy as np
from envs.contract import SimulatorMissing
from envs.metaworld import MultiTaskMetaWorld

try:
    env = MultiTaskMetaWorld(tasks=["drawer-close-v3"], attempt_steps=9)
    env.reset(seed=0)
    first = env.render()
except SimulatorMissing as error:
    print(error)
else:
    env.step(np.ones(4, np.float32))
    second = env.render()
    print(first.shape, first.dtype, (first != second).any(), np.ptp(first) > 99)
    print(first[:120].mean() > first[120:].mean())  # walls are bright, the floor is dark
"""


def draw(backend: str) -> str:
    made = subprocess.run(
        [sys.executable, "-c", DRAW],
        env={**os.environ, "MUJOCO_GL": backend, "DISPLAY": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def test_it_draws_the_arm() -> None:
    said = draw("osmesa")
    if "OSMesa" in said or "finds no renderer" in said:
        pytest.skip("drawing without a screen needs libosmesa6")
    assert said.splitlines() == ["(240, 320, 3) uint8 True True", "True"]


def test_without_a_screen_it_says_what_would_draw() -> None:
    said = draw("glfw")
    assert said.startswith("MuJoCo cannot draw here (")
    assert said.strip().endswith("(Debian: apt-get install libegl1 libosmesa6)")
