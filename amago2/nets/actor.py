"""The actor: one policy for every discount."""

from collections.abc import Sequence

from torch import Tensor, nn

from amago2.env.spaces import ActionSpec
from amago2.nets.distributions import ActionDistribution, make_distribution, parameter_count
from amago2.nets.mlp import Mlp


class Actor(nn.Module):
    """States (..., D) -> action distributions with leading shape (..., G), one per discount."""

    def __init__(
        self,
        width: int,
        hidden: Sequence[int],
        discounts: int,
        actions: ActionSpec,
        probability_limits: tuple[float, float],
    ) -> None:
        """Raises `ValueError` if all discrete actions cannot be as likely as the lower limit."""
        super().__init__()
        most = max((a.size for a in actions.choices if a.kind == "discrete"), default=0)
        if probability_limits[0] * most >= 1:
            raise ValueError(
                f"agent.probability_limits begin at {probability_limits[0]:g}, and there are "
                f"{most} actions; begin below {1 / most:g}"
            )
        self.actions, self.discounts = actions, discounts
        self.probability_limits = probability_limits
        self.net = Mlp([width, *hidden, discounts * parameter_count(actions)])

    def forward(
        self, states: Tensor, acting: bool = False, mask: Tensor | None = None
    ) -> ActionDistribution:
        """Policies of every discount; if `acting`, those of the last discount alone, (...).

        A `mask` (..., A) says which discrete actions are allowed.
        """
        outputs = self.net(states)
        outputs = outputs.view(*outputs.shape[:-1], self.discounts, -1)
        if acting:
            return make_distribution(
                self.actions, outputs.select(-2, -1), self.probability_limits, mask
            )
        masks = None if mask is None else mask.unsqueeze(-2)
        return make_distribution(self.actions, outputs, self.probability_limits, masks)
