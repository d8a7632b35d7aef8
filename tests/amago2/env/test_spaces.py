"""What is stored of an action, and what the agent is told of it."""

import numpy as np
import pytest

from amago2.env.spaces import ActionSpec, Array

KINDS: dict[str, tuple[Array, Array]] = {
    "discrete": (np.array([2, 0], np.int16), np.array([[0, 0, 1], [1, 0, 0]], np.float32)),
    "continuous": (
        np.array([[0.5, -1, 0]], np.float32),
        np.array([[0.5, -1, 0]], np.float32),
    ),
    "multibinary": (np.array([[1, 0, 1]], np.uint8), np.array([[1, 0, 1]], np.float32)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_stored_and_represented_actions_are_each_others(kind: str) -> None:
    spec = ActionSpec(kind, 3, -np.ones(3), np.ones(3))  # type: ignore[arg-type]
    stored, represented = KINDS[kind]
    assert_same(spec.represent(stored), represented)
    assert_same(spec.store(represented), stored)
    assert not spec.represent(spec.blank()[None]).any()


def assert_same(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
