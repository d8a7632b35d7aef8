"""The number of operations of an update: on a GPU each is a launch, which the host pays for."""

from typing import Any
from unittest.mock import patch

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from amago2.env.spaces import ActionSpec
from amago2.nets import action_values
from tests.amago2.agent.test_agent import CONTINUOUS, DISCRETE, agent, batch, rng

VIEWS = {"view", "_unsafe_view", "transpose", "permute", "expand", "slice", "select", "unsqueeze"}
VIEWS |= {"squeeze", "split", "split_with_sizes", "unbind", "detach", "alias", "as_strided", "t"}
MOST = {
    ("filtered_imitation", "two_hot"): 450,
    ("filtered_imitation", "popart"): 473,
    ("policy_gradient", "two_hot"): 501,
    ("policy_gradient", "popart"): 476,
}
"""Operations of forward and backward pass by actor and critic, of the costlier kind of actions."""


class Count(TorchDispatchMode):
    """Counts operations that compute something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        self.found += name not in VIEWS and "empty" not in name
        return func(*args, **(kwargs or {}))


def operations(spec: ActionSpec, actor: str, critic: str) -> int:
    made = agent(spec, dropout=0.1, actor=actor, critic=critic)
    data = batch(spec)
    with patch.object(action_values, "in_one_pass", lambda _: True), Count() as count:
        loss, _ = made.loss(data, rng())
        loss.backward()
        made.update_targets()
    return count.found


@pytest.mark.parametrize(("actor", "critic"), MOST)
def test_an_update_has_no_more_operations_than_it_needs(actor: str, critic: str) -> None:
    found = max(operations(spec, actor, critic) for spec in (DISCRETE, CONTINUOUS))
    assert found <= MOST[actor, critic]
