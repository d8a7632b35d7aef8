from typing import Any

import numpy as np
import pytest

from envs.return_scale import LOOK_SIZE, ReturnScale, looks
from tests.envs.contract_checks import (
    check_gymnasium,
    check_reproducible,
    check_rollout,
    rollout,
)


def play_right(
    env: ReturnScale, task: str, wrong: int = 0, seed: int = 0
) -> tuple[float, dict[str, Any]]:
    """Return and last info of a player who knows the task and sees the cue."""
    observation, _ = env.reset(seed=seed, options={"task": task})
    cue = int(np.argmax(observation["observation"][:4]))
    action = (cue + env.tasks.index(task)) % 4
    total, done, step = 0.0, False, 0
    while not done:
        _, reward, done, _, info = env.step((action + (step < wrong)) % 4)
        total, step = total + reward, step + 1
    return total, info


def test_keeps_the_contract() -> None:
    check_gymnasium(ReturnScale())
    check_reproducible(ReturnScale)
    check_reproducible(lambda: ReturnScale(attempts=3, length=4))
    for attempts in (1, 3):
        env = ReturnScale(attempts=attempts)
        for seed in range(20):
            check_rollout(env, rollout(env, seed))


def test_a_perfect_rollout_returns_the_scale() -> None:
    env = ReturnScale()
    assert env.max_returns == {
        "task0_x1": 1.0,
        "task1_x10": 10.0,
        "task2_x100": 100.0,
        "task3_x1000": 1000.0,
    }
    for task, best in env.max_returns.items():
        total, info = play_right(env, task)
        assert total == pytest.approx(best)
        assert info["attempt_return"] == pytest.approx(best)
        assert info["success"] is True


@pytest.mark.parametrize(("wrong", "success"), [(1, True), (2, False), (10, False)])
def test_success_forgives_one_wrong_action_in_ten(wrong: int, success: bool) -> None:
    total, info = play_right(ReturnScale(), "task1_x10", wrong=wrong)
    assert total == pytest.approx(10 - wrong)
    assert info["success"] is success


def test_observation_layout() -> None:
    env = ReturnScale(noise=0.0)
    frames = np.stack(
        [step[0]["observation"] for step in rollout(env, 0, "task2_x100")]
    )  # (11, 12)
    assert frames[0, :4].sum() == 1
    assert not frames[1:, :4].any()
    assert np.array_equal(frames[:, 4:10], np.tile(looks(4)[2], (11, 1)))
    assert frames[:, 10].tolist() == [1] + [0] * 10
    assert frames[:, 11] == pytest.approx(np.arange(11) / 10)


def test_attempts_repeat_the_variant_and_share_the_progress() -> None:
    env = ReturnScale(attempts=2, length=5)
    frames = np.stack([step[0]["observation"] for step in rollout(env, 0)])  # (11, 12)
    assert np.flatnonzero(frames[:, 10]).tolist() == [0, 5]
    assert np.array_equal(frames[0, :4], frames[5, :4])
    assert not np.array_equal(frames[0, 4:10], frames[5, 4:10])
    assert frames[:, 11] == pytest.approx(np.arange(11) / 10)


def test_noise_is_as_wide_as_stated_and_looks_lie_apart() -> None:
    env = ReturnScale()
    shown = np.concatenate(
        [
            np.stack([step[0]["observation"][4:10] for step in rollout(env, seed, "task0_x1")])
            for seed in range(200)
        ]
    )
    assert shown.mean(0) == pytest.approx(looks(4)[0], abs=0.03)
    assert (shown - looks(4)[0]).std() == pytest.approx(0.3, abs=0.01)
    distances = np.linalg.norm(looks(4)[:, None] - looks(4)[None], axis=-1)
    assert distances[np.triu_indices(4, 1)].min() > 10 * 0.3
    assert np.array_equal(looks(9)[:4], looks(4))
    assert looks(4).shape == (4, LOOK_SIZE)


def test_nothing_seen_tells_the_scale() -> None:
    scales = ([1, 10, 100, 1000], [1000, 100, 10, 1], [1, 1, 1, 1])
    envs = [ReturnScale(scales=scale) for scale in scales]
    rewarded = 0
    for seed in range(20):
        rollouts = [rollout(env, seed) for env in envs]
        for steps in zip(*rollouts, strict=True):
            first, *others = (step[0]["observation"] for step in steps)
            assert all(np.array_equal(first, other) for other in others)
        index = envs[0].tasks.index(rollouts[0][0][4]["task"])
        for steps in zip(*rollouts, strict=True):
            paid = [step[1] for step in steps]
            assert paid in ([0.0] * 3, [scale[index] / 10 for scale in scales])
            rewarded += paid[0] > 0
    assert rewarded > 0


def test_task_names_are_unique_for_equal_scales() -> None:
    assert ReturnScale(scales=[1, 1, 0.5]).tasks == ("task0_x1", "task1_x1", "task2_x0.5")


@pytest.mark.parametrize("scales", [[], [1, -1], ["big"], 3])
def test_bad_scales_are_refused(scales: object) -> None:
    with pytest.raises(ValueError, match="scales: expected a list of positive numbers"):
        ReturnScale(scales=scales)  # type: ignore[arg-type]
