import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.contract import (
    MultiTaskEnv,
    Observation,
    SimulatorMissing,
    StepResult,
    choose_tasks,
    require,
    unbounded,
)
from tests.envs.contract_checks import check_reproducible, check_rollout, rollout


class Counter(MultiTaskEnv):
    """Attempts of three steps; shows the step; an action is its own reward; success is task "a"."""

    truncates = False

    def __init__(self, attempts: int = 2, horizon: int | None = None) -> None:
        super().__init__(tasks=["a", "b"], attempts=attempts, horizon=horizon)
        self.observation_space = gymnasium.spaces.Dict({"observation": unbounded(2)})
        self.action_space = gymnasium.spaces.Discrete(3)

    def _draw_variant(self) -> None:
        self.variant = self.np_random.random()

    def _begin_attempt(self) -> Observation:
        self.count = 0
        return self._see()

    def _play(self, action: Any) -> StepResult:
        self.count += 1
        over = self.count == 3
        success = True if self._task == "a" else None
        return StepResult(
            self._see(),
            float(action),
            over and not self.truncates,
            self.truncates and over,
            success,
        )

    def _see(self) -> Observation:
        return {"observation": np.array([self.variant, self.count], np.float32)}


class FreeSoftReset(Counter):
    soft_reset_takes_step = False


class Limited(Counter):
    truncates = True


@pytest.mark.parametrize(("kind", "length"), [(Counter, 3 + 1 + 3), (FreeSoftReset, 3 + 3)])
def test_rollout_of_two_attempts(kind: type[Counter], length: int) -> None:
    env = kind()
    steps = rollout(env, seed=0)
    check_rollout(env, steps)
    assert len(steps) == 1 + length
    assert steps[-1][2:4] == (True, False)


def test_soft_reset_step_ignores_its_action_and_starts_the_next_attempt() -> None:
    env = Counter()
    env.reset(seed=0)
    shown = [env.step(2) for _ in range(5)]
    assert [float(step[0]["observation"][1]) for step in shown] == [1, 2, 3, 0, 1]
    assert [step[1] for step in shown] == [2, 2, 2, 0, 2]
    assert [step[4]["attempt"] for step in shown] == [0, 0, 0, 1, 1]


def test_free_soft_reset_comes_with_the_last_reward() -> None:
    env = FreeSoftReset()
    env.reset(seed=0)
    shown = [env.step(2) for _ in range(4)]
    assert [float(step[0]["observation"][1]) for step in shown] == [1, 2, 0, 1]
    assert [step[1] for step in shown] == [2, 2, 2, 2]
    assert [step[4]["attempt"] for step in shown] == [0, 0, 0, 1]


def test_attempt_return_and_success_are_told_at_ends_only() -> None:
    for task, success in (("a", {"success": True}), ("b", {})):
        env = Counter()
        env.reset(seed=0, options={"task": task})
        infos = [env.step(1)[4] for _ in range(7)]
        ends = {k: v for k, v in infos[2].items() if k in ("attempt_return", "success")}
        assert ends == {"attempt_return": 3.0, **success}
        assert infos[6]["attempt_return"] == 3.0
        assert all("attempt_return" not in infos[i] for i in (0, 1, 3, 4, 5))


def test_a_time_limit_truncates_the_rollout_and_still_reports_the_attempt() -> None:
    steps = rollout(Limited(), seed=0)
    assert len(steps) == 4
    assert steps[-1][2:4] == (False, True)
    assert "attempt_return" in steps[-1][4]


@pytest.mark.parametrize(
    ("kind", "horizon", "ends"),
    [
        (Counter, 2, [0]),  # within an attempt
        (Counter, 3, [0]),  # at the first one's end, with another to come
        (Counter, 4, [0]),  # at the soft reset: the second attempt was never played
        (Counter, 5, [0, 1]),
        (FreeSoftReset, 3, [0]),
        (FreeSoftReset, 4, [0, 1]),
    ],
)
def test_a_horizon_truncates_at_exactly_its_step(
    kind: type[Counter], horizon: int, ends: list[int]
) -> None:
    env = kind(horizon=horizon)
    for seed in range(2):
        steps = rollout(env, seed)
        check_rollout(env, steps)
        assert len(steps) == 1 + horizon
        assert steps[-1][2:4] == (False, True)
        assert [step[4]["attempt"] for step in steps if "attempt_return" in step[4]] == ends
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("kind", [Counter, FreeSoftReset])
def test_a_rollout_that_ends_at_its_horizon_is_terminated(kind: type[Counter]) -> None:
    length = len(rollout(kind(), seed=0)) - 1
    steps = rollout(kind(horizon=length), seed=0)
    assert len(steps) == 1 + length
    assert steps[-1][2:4] == (True, False)


def test_seed_decides_task_and_variant_and_an_option_only_the_task() -> None:
    check_reproducible(Counter)
    env = Counter()
    drawn, info = env.reset(seed=3)
    for task in env.tasks:
        given, _ = env.reset(seed=3, options={"task": task})
        assert np.array_equal(given["observation"], drawn["observation"])
    assert {env.reset(seed=seed)[1]["task"] for seed in range(20)} == set(env.tasks)
    assert info["task"] in env.tasks


def test_stepping_outside_a_rollout_is_refused() -> None:
    env = Counter(attempts=1)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    rollout(env, seed=0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_bad_arguments_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"tasks: unknown value 'autoencode'; choose from Autoenc"):
        choose_tasks(["autoencode"], ["Autoencode", "RepeatFirst"])
    with pytest.raises(ValueError, match="listed twice"):
        choose_tasks(["a", "a"], ["a", "b"])
    no_lists: tuple[list[str] | str, ...] = ([], "a")
    for empty in no_lists:
        with pytest.raises(ValueError, match="expected a list"):
            choose_tasks(empty, ["a", "b"])
    with pytest.raises(ValueError, match="attempts: expected a whole number of at least 1, not 0"):
        Counter(attempts=0)
    with pytest.raises(ValueError, match="horizon: expected a whole number of at least 1, not 0"):
        Counter(horizon=0)
    with pytest.raises(ValueError, match="games: unknown value 'c'"):
        choose_tasks(["c"], ["a", "b"], "games")
    with pytest.raises(ValueError, match=r'options\["task"\]: unknown value \'c\''):
        Counter().reset(options={"task": "c"})


def test_missing_simulator_names_its_remedy() -> None:
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[retro\]'") as caught:
        require("no_such_simulator", "retro")
    assert "\n" not in str(caught.value)


def test_a_simulator_that_breaks_while_it_is_imported_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_simulator.py").write_text("None.attribute")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SimulatorMissing, match=r"has no attribute .*pip install"):
        require("broken_simulator", "retro")


SIMULATORS = ("popgym", "metaworld", "mujoco", "minigrid", "procgen", "ale_py", "stable_retro")


def test_importing_the_benchmarks_imports_no_simulator_and_no_agent() -> None:
    code = (
        "import importlib, pkgutil, sys, envs\n"
        "for module in pkgutil.iter_modules(envs.__path__):\n"
        "    importlib.import_module('envs.' + module.name)\n"
        f"print([name for name in {(*SIMULATORS, 'torch', 'amago2', 'workflow')!r}"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
