import numpy as np
import pytest

from amago2.config.schema import ExplorationConfig
from amago2.env.spaces import ActionSpec
from amago2.rollout.exploration import epsilon, explore


def test_plain_schedule_by_hand() -> None:
    config = ExplorationConfig(first_step_epsilon=(1.0, 0.05), anneal_steps=100)
    time, scale = np.array([0, 50]), np.array([1.0, 0.5])
    assert epsilon(config, 0, time, scale).tolist() == [1.0, 0.5]
    assert epsilon(config, 50, time, scale).tolist() == pytest.approx([0.525, 0.2625])
    assert epsilon(config, 1000, time, scale).tolist() == pytest.approx([0.05, 0.025])


def test_bilevel_schedule_by_hand() -> None:
    config = ExplorationConfig(
        first_step_epsilon=(1.0, 0.05), last_step_epsilon=(0.8, 0.01), horizon=10, anneal_steps=100
    )
    time, scale = np.array([0, 5, 10, 99]), np.ones(4)
    assert epsilon(config, 0, time, scale).tolist() == pytest.approx([1.0, 0.9, 0.8, 0.8])
    assert epsilon(config, 200, time, scale).tolist() == pytest.approx([0.05, 0.03, 0.01, 0.01])


def test_discrete_noise_replaces_by_a_uniform_action_with_chance_epsilon() -> None:
    spec, rng = ActionSpec("discrete", 4), np.random.default_rng(0)
    actions = np.full(40_000, 2, np.int16)
    noisy = explore(spec, actions, np.full(40_000, 0.4), rng)
    assert noisy.dtype == np.int16
    assert np.bincount(noisy, minlength=4) / 40_000 == pytest.approx([0.1, 0.1, 0.7, 0.1], abs=0.01)
    assert np.array_equal(explore(spec, actions, np.zeros(40_000), rng), actions)


def test_continuous_noise_is_scaled_and_clipped() -> None:
    spec = ActionSpec("continuous", 3, -np.ones(3), np.ones(3))
    rng = np.random.default_rng(0)
    actions = np.zeros((20_000, 3), np.float32)
    noisy = explore(spec, actions, np.full(20_000, 0.1), rng)
    assert noisy.std() == pytest.approx(0.1, abs=0.005)
    assert np.abs(explore(spec, actions, np.full(20_000, 5.0), rng)).max() == 1.0


def test_multibinary_noise_flips_buttons() -> None:
    spec, rng = ActionSpec("multibinary", 12), np.random.default_rng(0)
    noisy = explore(spec, np.zeros((20_000, 12), np.uint8), np.full(20_000, 0.5), rng)
    assert noisy.mean() == pytest.approx(0.5 * 0.15, abs=0.01)
    assert noisy.any(1).mean() == pytest.approx(0.5 * (1 - 0.85**12), abs=0.02)
