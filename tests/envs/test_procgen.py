import csv
import gc
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from amago2.env.spaces import Array
from envs.contract import SimulatorMissing
from envs.procgen import (
    EASY_GAMES,
    GAMES,
    LEVELS,
    MEMORY_GAMES,
    PRESETS,
    SCORE_RANGES,
    MultiGameProcgen,
    distribution_mode,
)
from tests.envs.contract_checks import (
    Step,
    assert_same,
    check_gymnasium,
    check_reproducible,
    check_rollout,
    global_generators_untouched,
    rollout,
)
from workflow.config.requirements import lacking

if sentence := lacking("procgen_easy"):
    pytest.skip(sentence, allow_module_level=True)


def is_marked(image: Array) -> bool:
    return not image[1:5, 1:5].any()


def whole(env: MultiGameProcgen, task: str) -> list[Step]:
    """A rollout that random actions bring to its end, both attempts of more than two steps."""
    for seed in range(40):
        steps = rollout(env, seed, task)
        second = [step[4]["attempt"] for step in steps].count(1)
        if steps[-1][2] and 3 < second < len(steps) - 3:
            return steps
    raise AssertionError("no such rollout")


def bare_simulator(game: str, mode: str, level: int) -> Any:
    from procgen import ProcgenGym3Env

    return ProcgenGym3Env(
        num=1, env_name=game, distribution_mode=mode, num_levels=1, start_level=level
    )


def test_games_are_the_installed_ones() -> None:
    from procgen.env import ENV_NAMES

    assert sorted(GAMES) == sorted(ENV_NAMES)
    assert MultiGameProcgen().tasks == GAMES
    reference = Path(__file__).parents[2] / "workflow/reference"
    with (reference / "fig06_procgen_rescaled.csv").open() as file:
        assert {row["game"] for row in csv.DictReader(file)} == set(EASY_GAMES)


def test_keeps_the_contract() -> None:
    def make() -> MultiGameProcgen:
        return MultiGameProcgen(games=EASY_GAMES)

    check_gymnasium(make())
    check_reproducible(make, limit=200)
    env = make()
    for seed in range(6):
        steps = rollout(env, seed)
        check_rollout(env, steps)
        assert all("success" not in step[4] for step in steps)


@pytest.mark.parametrize("name", PRESETS)
def test_every_game_of_a_preset_keeps_to_the_spaces(name: str) -> None:
    env = MultiGameProcgen(**{**PRESETS[name], "horizon": 8})
    assert env.tasks == PRESETS[name]["games"]
    assert env.observation_space["image"].shape == (64, 64, 3)
    assert env.action_space == spaces.Discrete(15)
    with global_generators_untouched():
        for task in env.tasks:
            check_rollout(env, rollout(env, seed=3, task=task))
        for seed in range(20):
            check_rollout(env, rollout(env, seed))
    assert {env.reset(seed=seed)[1]["task"] for seed in range(200)} == set(env.tasks)


def test_memory_mode_is_where_it_exists() -> None:
    modes = {game: distribution_mode(game, "memory_hard") for game in GAMES}
    assert {game for game in GAMES if modes[game] == "memory"} == set(MEMORY_GAMES)
    assert set(modes.values()) == {"memory", "hard"}
    assert distribution_mode("maze", "easy") == "easy"
    assert distribution_mode("maze", "hard") == "hard"


@pytest.mark.parametrize(
    ("task", "mode"), [("leaper", "easy"), ("ninja", "easy"), ("starpilot", "memory_hard")]
)
def test_equals_the_bare_simulator_in_both_attempts(task: str, mode: str) -> None:
    env = MultiGameProcgen(games=[task], mode=mode)
    steps = whole(env, task)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in steps[1:]]
    ends = [index for index, step in enumerate(steps) if "attempt_return" in step[4]]
    assert len(ends) == 2
    for attempt, first in enumerate((0, ends[0] + 1)):
        bare = bare_simulator(task, distribution_mode(task, mode), env._level)
        seen, total = bare.observe()[1]["rgb"][0], 0.0
        for index in range(first, ends[attempt] + 1):
            image, reward, terminated, truncated, info = steps[index]
            if index > first:
                bare.act(np.array([actions[index - 1]]))
                bare_reward, frame, over = bare.observe()
                seen, total = frame["rgb"][0], total + float(bare_reward[0])
                assert reward == float(bare_reward[0])
                assert over[0] == ("attempt_return" in info)
            if attempt == 1 or index == ends[0]:
                seen[1:5, 1:5] = 0
            assert np.array_equal(image["image"], seen)
            assert terminated == (index == ends[1])
            assert not truncated
        assert info["attempt_return"] == pytest.approx(total)
        bare.close()


def test_the_mark_shows_from_the_last_frame_of_the_first_attempt_on() -> None:
    env = MultiGameProcgen(games=["leaper"])
    steps = whole(env, "leaper")
    end = next(index for index, step in enumerate(steps) if "attempt_return" in step[4])
    shown = [is_marked(step[0]["image"]) for step in steps]
    assert shown == [False] * end + [True] * (len(steps) - end)
    _, reward, terminated, truncated, info = steps[end + 1]  # the soft reset
    assert (reward, terminated, truncated, info["attempt"]) == (0.0, False, False, 1)
    alone = MultiGameProcgen(games=["leaper"], attempts=1)
    steps = rollout(alone, seed=0)
    assert steps[-1][2]
    assert not any(is_marked(step[0]["image"]) for step in steps)


def test_the_second_attempt_repeats_the_first_under_the_same_actions() -> None:
    for preset in ("easy", "memory_hard"):
        env = MultiGameProcgen(**{**PRESETS[preset], "horizon": None})
        for seed, task in enumerate(("leaper", "coinrun", "ninja", "jumper", "climber")):
            env.reset(seed=seed, options={"task": task})
            actions = np.random.default_rng(seed)
            played, first, over = [], [], False
            while not over:
                played.append(int(actions.integers(15)))
                observation, reward, *_, info = env.step(played[-1])
                over = "attempt_return" in info
                observation["image"][1:5, 1:5] = 0
                first.append((observation["image"].tobytes(), reward))
            env.step(0)
            second = []
            for action in played:
                observation, reward, terminated, *_ = env.step(action)
                second.append((observation["image"].tobytes(), reward))
            assert terminated
            assert second == first


def test_horizon_truncates() -> None:
    env = MultiGameProcgen(games=["climber"], horizon=37)
    steps = rollout(env, seed=1)
    check_rollout(env, steps)
    assert len(steps) == 1 + 37
    assert steps[-1][2:4] == (False, True)
    assert steps[-1][4]["attempt_return"] == sum(step[1] for step in steps)
    assert PRESETS["easy"]["horizon"] == 2_500
    assert PRESETS["memory_hard"]["horizon"] == 5_000


def test_scaled_rewards_go_to_the_agent_and_raw_ones_to_the_record() -> None:
    plain = MultiGameProcgen(**PRESETS["easy"])
    scaled = MultiGameProcgen(**PRESETS["rescaled"])
    for task, factor in (("coinrun", 100.0), ("climber", 0.1), ("leaper", 1.0)):
        rewards = []
        for seed in range(12):
            raw, changed = (rollout(env, seed, task, limit=600) for env in (plain, scaled))
            assert len(raw) == len(changed)
            for a, b in zip(raw, changed, strict=True):
                assert b[1] == a[1] * factor
                assert a[4] == b[4]
                assert np.array_equal(a[0]["image"], b[0]["image"])
                rewards.append(a[1])
        assert task == "coinrun" or any(rewards)


def levels(count: int, **arguments: Any) -> set[int]:
    """The levels that `count` rollouts meet."""
    env = MultiGameProcgen(games=["maze"], **arguments)
    env.reset(seed=0)
    drawn = set()
    for _ in range(count):
        env.reset()
        drawn.add(env._level)
    return drawn


def test_training_and_evaluation_levels_are_disjoint() -> None:
    assert levels(60, train_levels=5) == set(range(5))
    assert levels(60, train_levels=5, mode="hard") == set(range(5))
    unseen = levels(60, train_levels=5, split="eval")
    assert len(unseen) > 55
    assert min(unseen) >= 5
    assert max(unseen) < LEVELS
    assert max(unseen) > LEVELS * 0.8
    env = MultiGameProcgen(games=["maze"], split="eval")
    assert env.reset(seed=0)[1]["split"] == "eval"


def test_order_of_games_shows_nowhere() -> None:
    forward = MultiGameProcgen(games=["coinrun", "ninja", "leaper"])
    backward = MultiGameProcgen(games=["leaper", "ninja", "coinrun"])
    for task in forward.tasks:
        assert_same(rollout(forward, 3, task, 60), rollout(backward, 3, task, 60))


def test_another_process_plays_the_same_rollout() -> None:
    code = (
        "import hashlib\n"
        "from envs.procgen import MultiGameProcgen\n"
        "from tests.envs.contract_checks import rollout\n"
        "steps = rollout(MultiGameProcgen(games=['ninja', 'starpilot']), 5, limit=80)\n"
        "data = b''.join(s[0]['image'].tobytes() + repr(s[1:]).encode() for s in steps)\n"
        "print(hashlib.sha256(data).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    steps = rollout(MultiGameProcgen(games=["ninja", "starpilot"]), 5, limit=80)
    data = b"".join(step[0]["image"].tobytes() + repr(step[1:]).encode() for step in steps)
    assert there.stderr == ""
    assert there.stdout.strip() == hashlib.sha256(data).hexdigest()


def handles_and_threads() -> list[int]:
    gc.collect()
    return [len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task")]


def test_resets_leave_no_handles_and_no_threads() -> None:
    env = MultiGameProcgen()
    env.reset(seed=0)
    before = handles_and_threads()
    for _ in range(100):
        env.reset()
    assert handles_and_threads() == before
    env.close()
    env.close()
    env.reset(seed=0)


def test_ranges_are_known_for_every_game() -> None:
    for ranges in SCORE_RANGES.values():
        assert set(ranges) == set(GAMES)
        assert all(low < high for low, high in ranges.values())
    assert SCORE_RANGES["easy"]["jumper"] == SCORE_RANGES["easy"]["leaper"] == (3, 10)
    assert SCORE_RANGES["hard"]["jumper"] == (1, 10)


def test_bad_arguments_are_refused_before_the_simulator_sees_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The simulator would end the process.
    with pytest.raises(ValueError, match="games: unknown value 'coin_run'; choose from coinrun"):
        MultiGameProcgen(games=["coin_run"])
    with pytest.raises(ValueError, match="mode: unknown value 'memory'; choose from memory_hard"):
        MultiGameProcgen(mode="memory")
    with pytest.raises(ValueError, match="split: unknown value 'test'"):
        MultiGameProcgen(split="test")
    with pytest.raises(ValueError, match="reward_scales: unknown value 'maze'"):
        MultiGameProcgen(games=["coinrun"], reward_scales={"maze": 2.0})
    with pytest.raises(ValueError, match="train_levels: expected a whole number of at least 1"):
        MultiGameProcgen(train_levels=0)
    with pytest.raises(ValueError, match="train_levels: expected less than 10000000"):
        MultiGameProcgen(train_levels=LEVELS)
    with pytest.raises(ValueError, match=r'options\["task"\]: unknown value \'maze\''):
        MultiGameProcgen(games=["coinrun"]).reset(options={"task": "maze"})
    monkeypatch.setitem(sys.modules, "procgen", None)
    with pytest.raises(SimulatorMissing, match=r"pip install 'amago2\[procgen\]'"):
        MultiGameProcgen()
