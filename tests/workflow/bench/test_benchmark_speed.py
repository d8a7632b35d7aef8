"""The table of benchmarks: both sides play the same, what is missing is said, the rest is kept."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from amago2.env.make import make_env
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError, RunError
from envs.contract import MultiTaskEnv
from workflow.bench import benchmark_speed
from workflow.bench.benchmark_speed import RolloutSchedule, Speed, measure
from workflow.bench.raw_simulators import PLAYERS
from workflow.cli.app import main
from workflow.config.parameters import Parameters
from workflow.docs.marked_section import publish

ROOT = Path(__file__).resolve().parents[3]
PAGE = "# Title\n\n<!-- measured: from here to the next mark by `make x` -->\nold\n"


@pytest.mark.parametrize("name", ["popgym", "procgen_easy", "babyai", "retro_free"])
def test_the_simulator_alone_plays_our_rollouts(name: str) -> None:
    """Their lengths, which tasks, variants, actions and resets decide, are the same."""
    config = Parameters(ROOT / "params").resolve(name, "ind_actor_ind_critic", "paper").env
    env = cast(MultiTaskEnv, make_env(config))
    schedule = RolloutSchedule(
        config,
        env.tasks[:5],
        ActionSpec.of(env.action_space),
        limit=60 if name == "retro_free" else 400,
    )
    ours = []
    for number in range(5):
        task, seed, actions = schedule.rollout(number)
        env.reset(seed=seed, options={"task": task})
        length, over = 0, False
        while not over and length < schedule.limit:
            action = schedule.actions.to_env(actions[length : length + 1])[0]
            _, _, terminated, truncated, _ = env.step(action)
            length, over = length + 1, terminated or truncated
        ours.append(length)
    env.close()
    play = PLAYERS[config.entry_point](config.kwargs)
    alone = [sum(1 for _ in play(*schedule.rollout(number))) for number in range(5)]
    assert alone == ours
    assert len(set(ours)) > 1 or name == "retro_free"


def test_rollouts_draw_every_task_and_action() -> None:
    config = Parameters(ROOT / "params").resolve("popgym", "ind_actor_ind_critic", "paper").env
    schedule = RolloutSchedule(config, ("a", "b"), ActionSpec("discrete", 4), limit=100)
    (one, _, actions), (two, *_) = schedule.rollout(0), schedule.rollout(1)
    assert (one, two) == ("a", "b")
    assert set(actions.tolist()) == set(range(4))
    assert np.array_equal(actions, schedule.rollout(0)[2])


@pytest.mark.parametrize("processes", [1, 2])
def test_speeds_are_measured(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_speed, "REPEATS", 1)
    parameters = Parameters(ROOT / "params")
    config = parameters.resolve("return_scale", "ind_actor_ind_critic", "paper").env
    speed = measure(config, ("task0_x1", "task1_x10"), processes, seconds=0.05)
    assert speed.alone is None
    assert 100 < speed.ours < 1e7


def test_what_is_missing_is_told_and_the_rest_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(benchmark_speed, "measure", lambda *_: Speed(4000.0, 3000.0, 0.25))
    monkeypatch.setattr(benchmark_speed, "lacking", {"retro": "no ROM of this game"}.get)
    page = tmp_path / "page.md"
    mark = "<!-- measured: from here to the next mark by `make benchmark-table` -->"
    page.write_text(f"before\n{mark}\nold\n<!-- end of measured -->\nafter\n")
    assert main(["benchmark-table", "--out", str(page), "--benchmark", "return_scale,retro"]) == 0
    written = page.read_text()
    assert (
        "| `return_scale` | 4 | observation 12 | Discrete(4) | 1 | 10 | 4,000 | 3,000 | 25% |"
        in written
    )
    assert "Not measured: retro: no ROM of this game." in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")

    def broken(config: object) -> None:
        raise RunError("the simulator package `x` cannot be imported")

    monkeypatch.setattr(benchmark_speed, "make_env", broken)
    assert main(["benchmark-table", "--benchmark", "return_scale,retro"]) == 1
    assert capsys.readouterr().err.endswith(
        "return_scale: the simulator package `x` cannot be imported\n"
    )


def test_a_page_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(ConfigError, match=r"must hold the lines .*`make x`.* end of measured"):
        publish(page, "make x", "new")
    assert page.read_text() == PAGE


def test_every_simulator_that_can_be_alone_is_driven() -> None:
    parameters = Parameters(ROOT / "params")
    entries = {
        parameters.resolve(name, "ind_actor_ind_critic", "paper").env.entry_point
        for name in parameters.names("benchmarks")
    }
    assert entries - set(PLAYERS) == {"envs.return_scale:ReturnScale", "envs.retro:MultiGameRetro"}
