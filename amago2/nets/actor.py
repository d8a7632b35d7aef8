"""The actor: one policy for every discount."""

from collections.abc import Sequence

from torch import Tensor, nn

from amago2.env.spaces import ActionSpec
from amago2.nets.distributions import ActionDistribution, make_distribution, parameter_count
from amago2.nets.mlp import Mlp


class Actor(nn.Module):
    """States (..., D) -> action distributions with leading shape (..., G), one per discount."""

    def __init__(
        self, width: int, hidden: Sequence[int], discounts: int, actions: ActionSpec
    ) -> None:
        super().__init__()
        self.actions, self.discounts = actions, discounts
        self.net = Mlp([width, *hidden, discounts * parameter_count(actions)])

    def forward(self, states: Tensor, acting: bool = False) -> ActionDistribution:
        """Policies of every discount; if `acting`, those of the last discount alone, (...)."""
        outputs = self.net(states)
        outputs = outputs.view(*outputs.shape[:-1], self.discounts, -1)
        return make_distribution(self.actions, outputs.select(-2, -1) if acting else outputs)
