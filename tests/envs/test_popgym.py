import csv
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.seeding import np_random

from amago2.env.spaces import Array
from envs.contract import SimulatorMissing
from envs.popgym import (
    ACTIONS,
    OBSERVATION_SIZE,
    SINGLE_TASKS,
    TASKS,
    MultiTaskPOPGym,
    Simulator,
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
from workflow.cli.app import main

popgym_envs = pytest.importorskip("popgym.envs")

SIZES = {  # (observation, actions) found in popgym 1.0.7
    "Autoencode": (6, 4),
    "RepeatPrevious": (4, 4),
    "RepeatFirst": (4, 4),
    "CountRecallEasy": (4, 27),
    "CountRecallMedium": (8, 27),
    "CountRecallHard": (26, 17),
    "PositionOnlyCartPole": (2, 2),
    "VelocityOnlyCartPole": (2, 2),
    "NoisyPositionOnlyCartPole": (2, 2),
    "MultiarmedBanditEasy": (2, 10),
    "MultiarmedBanditMedium": (2, 20),
    "HigherLower": (13, 2),
    "MineSweeperEasy": (3, 16),
}


def without_level(task: str) -> str:
    return task.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard")


@pytest.fixture(scope="module")
def env() -> MultiTaskPOPGym:
    return MultiTaskPOPGym()


def test_there_are_27_tasks_of_the_known_sizes() -> None:
    assert len(TASKS) == len(set(TASKS)) == 27
    for task in TASKS:
        simulator = Simulator(task)
        known = SIZES.get(task) or SIZES[without_level(task)]
        assert (simulator.observation_size, simulator.actions) == known
        assert simulator.observation_size <= OBSERVATION_SIZE
        assert simulator.actions <= ACTIONS
    assert max(size for size, _ in SIZES.values()) == OBSERVATION_SIZE
    assert max(actions for _, actions in SIZES.values()) == ACTIONS


def test_keeps_the_contract(env: MultiTaskPOPGym) -> None:
    check_gymnasium(MultiTaskPOPGym(tasks=["RepeatPreviousEasy", "MineSweeperEasy"]))
    assert env.observation_space["observation"].shape == (29,)
    assert env.action_space == gymnasium.spaces.Discrete(27)
    for task in TASKS:
        check_rollout(env, rollout(env, seed=1, task=task))
    check_reproducible(lambda: MultiTaskPOPGym(tasks=[t for t in TASKS if "Easy" in t]))


def test_spaces_hold_over_twenty_resets(env: MultiTaskPOPGym) -> None:
    env.reset(seed=0)
    for _ in range(20):
        for task in TASKS:
            observation, info = env.reset(options={"task": task})
            assert env.observation_space.contains(observation)
            assert info == {"task": task, "split": "train", "attempt": 0}


def test_tasks_are_drawn_uniformly(env: MultiTaskPOPGym) -> None:
    env.reset(seed=0)
    drawn = [env.reset()[1]["task"] for _ in range(2700)]
    counts = np.array([drawn.count(task) for task in TASKS])
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert chi_square < 54  # 99.9 % quantile at 26 degrees of freedom


class Reference:
    """The bare simulator, stepped by hand as the benchmark's description says."""

    def __init__(self, task: str, seed: int) -> None:
        self.simulator = getattr(popgym_envs, task)()
        self.generator, _ = np_random(seed)
        self.generator.integers(len(TASKS))  # the task's draw
        self.inner_seed = int(self.generator.integers(2**31))
        space = self.simulator.action_space
        self.grid = None if isinstance(space, gymnasium.spaces.Discrete) else space.nvec
        self.actions = int(space.n if self.grid is None else np.prod(self.grid))

    def see(self, sample: object, attempt: int, valid: float, reward: float) -> Array:
        flat: Any = gymnasium.spaces.flatten(self.simulator.observation_space, sample)
        padded = np.zeros(29, np.float32)
        padded[: len(flat)] = flat
        padded[26:] = attempt, valid, reward
        return padded

    def step(self, action: int) -> tuple[object, float, bool, float]:
        valid = action < self.actions
        action = action if valid else int(self.generator.integers(self.actions))
        raw = action if self.grid is None else np.unravel_index(action, self.grid)
        sample, reward, terminated, truncated, _ = self.simulator.step(raw)
        return sample, reward, terminated or truncated, float(valid)


@pytest.mark.parametrize("task", TASKS)
def test_equals_the_bare_simulator(env: MultiTaskPOPGym, task: str) -> None:
    reference = Reference(task, seed=11)
    actions = np.random.default_rng(0)
    observation, _ = env.reset(seed=11, options={"task": task})
    for attempt in (0, 1):
        sample, _ = reference.simulator.reset(seed=reference.inner_seed if attempt == 0 else None)
        if attempt == 1:
            observation, reward, terminated, _, _ = env.step(0)
            assert (reward, terminated) == (0.0, False)
        assert np.array_equal(observation["observation"], reference.see(sample, attempt, 1, 0))
        over, total = False, 0.0
        while not over:
            action = int(actions.integers(27))
            sample, inner, over, valid = reference.step(action)
            observation, reward, terminated, truncated, info = env.step(action)
            expected = reference.see(sample, attempt, valid, inner)
            assert np.array_equal(observation["observation"], expected)
            assert reward == (inner if attempt == 1 else 0.0)
            assert (terminated, truncated) == (over and attempt == 1, False)
            total += inner
        assert info["attempt_return"] == pytest.approx(total)
        assert "success" not in info


def test_exploration_returns_nothing_and_shows_its_rewards(env: MultiTaskPOPGym) -> None:
    steps = rollout(env, seed=0, task="HigherLowerEasy")
    assert len(steps) == 1 + 51 + 1 + 51
    exploring = [step for step in steps if step[4]["attempt"] == 0]
    shown = [float(step[0]["observation"][28]) for step in exploring]
    assert all(step[1] == 0.0 for step in exploring)
    assert exploring[-1][4]["attempt_return"] == pytest.approx(sum(shown), abs=1e-6)
    assert any(shown)
    scored = steps[len(exploring) :]
    assert sum(step[1] for step in scored) == scored[-1][4]["attempt_return"]
    progress = [float(step[0]["observation"][26]) for step in steps]
    assert progress == [0.0] * len(exploring) + [1.0] * len(scored)


def test_one_attempt_counts_from_its_first_step() -> None:
    env = MultiTaskPOPGym(tasks=["RepeatPreviousEasy"], attempts=1)
    assert env.tasks == ("RepeatPreviousEasy",)
    suits: list[int] = []
    observation, info = env.reset(seed=0)
    total, done = 0.0, False
    while not done:
        assert observation["observation"][26] == 1.0
        suits.append(int(np.argmax(observation["observation"][:4])))
        observation, reward, done, _, info = env.step(suits[-4] if len(suits) > 3 else 0)
        total += reward
    assert len(suits) == 51
    assert total == pytest.approx(1.0)
    assert info["attempt_return"] == total


def test_replaced_actions_are_uniform_and_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    env = MultiTaskPOPGym(tasks=["MultiarmedBanditEasy"])
    env.reset(seed=0)
    arms: list[int] = []
    simulator = env._simulators["MultiarmedBanditEasy"].env
    inner_step = simulator.step

    def noted(action: int) -> Any:
        arms.append(action)
        return inner_step(action)

    monkeypatch.setattr(simulator, "step", noted)
    for step in range(4000):
        invalid = step % 2 == 0
        if env.step(26 if invalid else 3)[2]:
            env.reset()
    flags = [env.reset(seed=1)[0]["observation"][27]]
    flags += [env.step(action)[0]["observation"][27] for action in (26, 9, 10, 0)]
    assert flags == [1, 0, 1, 0, 1]
    counts = np.bincount(arms, minlength=10)
    others = np.delete(counts, 3)
    assert len(counts) == 10
    assert others.min() > 0.75 * others.mean()
    assert others.max() < 1.25 * others.mean()


def test_order_and_choice_of_tasks_show_nowhere() -> None:
    names = ["RepeatFirstEasy", "AutoencodeEasy", "HigherLowerEasy"]
    for task in names:
        forward = rollout(MultiTaskPOPGym(tasks=names), 3, task)
        backward = rollout(MultiTaskPOPGym(tasks=names[::-1]), 3, task)
        assert_same(forward, backward)


@pytest.mark.parametrize("family", ["PositionOnlyCartPole", "VelocityOnlyCartPole"])
def test_tasks_that_differ_in_reward_and_length_alone_look_the_same(
    env: MultiTaskPOPGym, family: str
) -> None:
    views = []
    for level in ("Easy", "Medium", "Hard"):
        steps = rollout(env, 4, family + level)
        views.append(np.stack([step[0]["observation"][:28] for step in steps]))
    assert np.array_equal(views[0], views[1])
    assert np.array_equal(views[0], views[2])


def test_all_published_names_are_known() -> None:
    published = Path(__file__).parents[2] / "workflow/reference/fig16_popgym_tasks.csv"
    with published.open() as file:
        names = {row["panel"] for row in csv.DictReader(file)}
    described = benchmark("popgym")
    assert {described.task_name(name) for name in names} == set(TASKS)


def test_a_task_beyond_the_padding_is_refused() -> None:
    assert SINGLE_TASKS == ("BattleshipEasy",)
    message = "padded_actions: the installed popgym's BattleshipEasy needs 64, not 27"
    with pytest.raises(ValueError, match=message):
        MultiTaskPOPGym(tasks=["BattleshipEasy"])
    with pytest.raises(ValueError, match=r"padded_observation: .*AutoencodeEasy needs 6, not 5"):
        MultiTaskPOPGym(tasks=["AutoencodeEasy"], padded_observation=5)
    env = MultiTaskPOPGym(tasks=["BattleshipEasy"], padded_actions=64, attempts=1)
    check_rollout(env, rollout(env, seed=0))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="choose from RepeatPreviousEasy"):
        MultiTaskPOPGym(tasks=["RepeatPreviousEazy"])
    with pytest.raises(ValueError, match="attempts: unknown value 3; choose from 1, 2"):
        MultiTaskPOPGym(attempts=3)


def test_a_missing_popgym_is_told_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "popgym.envs", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[popgym\]'"):
        MultiTaskPOPGym()


def test_it_prints_nothing_and_leaves_global_generators_alone(
    env: MultiTaskPOPGym, capfd: pytest.CaptureFixture[str]
) -> None:
    with global_generators_untouched():
        for seed in range(5):
            rollout(env, seed)
    assert capfd.readouterr() == ("", "")


def test_random_returns_are_those_of_the_committed_file(tmp_path: Path) -> None:
    committed = Path(__file__).parents[2] / "workflow/reference/popgym_random.csv"
    with committed.open() as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(TASKS)
    for name in ("a.csv", "b.csv"):
        arguments = ["random-returns", "popgym", "--rollouts", "10"]
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not list(tmp_path.glob("*.tmp"))
    with (tmp_path / "a.csv").open() as file:
        for row in csv.DictReader(file):
            known = rows[row["task"]]
            error = float(known["std"]) / np.sqrt(10)
            assert float(row["mean_return"]) == pytest.approx(
                float(known["mean_return"]), abs=4.5 * error
            )
