"""Actor and critic heads. Every discount has its own policy and its own values."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.env.spaces import ActionSpec
from amago2.nets.distributions import Policy, make_policy, policy_outputs
from amago2.nets.precision import as_factor
from amago2.nets.timestep_encoders import Mlp
from amago2.nets.value_bins import symlog


class Actor(nn.Module):
    """States (..., D) -> policies with leading shape (..., G), one for each discount."""

    def __init__(
        self, width: int, hidden: Sequence[int], discounts: int, actions: ActionSpec
    ) -> None:
        super().__init__()
        self.actions, self.discounts = actions, discounts
        self.net = Mlp([width, *hidden, discounts * policy_outputs(actions)])

    def forward(self, states: Tensor, acting: bool = False) -> Policy:
        """Policies of every discount; those of the last one, (...), if `acting`."""
        outputs = self.net(states)
        outputs = outputs.view(*outputs.shape[:-1], self.discounts, -1)
        return make_policy(self.actions, outputs.select(-2, -1) if acting else outputs)


def discount_feature(discounts: Tensor) -> Tensor:
    """Input (G,) that tells a critic its discount: symlog of the effective horizon."""
    return symlog(1 / (1 - discounts).clamp(1e-6, 1))


class CriticEnsemble(nn.Module):
    """C independent MLPs as batched products; outputs (C, M, ..., O).

    With `discounts` the input is (state, discount feature, action), evaluated for every discount.
    The first layer is split by input, so that the state's product is made once for all discounts
    and actions. Without, the input is the state alone.
    """

    features: Tensor | None  # (G,)

    def __init__(
        self,
        members: int,
        width: int,
        hidden: Sequence[int],
        outputs: int,
        discounts: Tensor | None = None,
        actions: int = 0,
    ) -> None:
        super().__init__()
        features = None if discounts is None else discount_feature(discounts)
        self.register_buffer("features", features, persistent=False)
        self.width = width
        inputs = width if features is None else width + 1 + actions
        sizes = [inputs, *hidden, outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            weight_bound, bias_bound = math.sqrt(3 / fan_in), math.sqrt(1 / fan_in)
            weight = torch.empty(members, fan_in, fan_out).uniform_(-weight_bound, weight_bound)
            bias = torch.empty(members, 1, fan_out).uniform_(-bias_bound, bias_bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))

    def _layers(self, frozen: bool) -> list[tuple[Tensor, Tensor]]:
        pairs = list(zip(self.weights, self.biases, strict=True))
        return [(w.detach(), b.detach()) for w, b in pairs] if frozen else pairs

    def forward(self, states: Tensor) -> Tensor:
        """Outputs (C, M, O) for states (M, D)."""
        return self._finish(self.of_states(states), self._layers(False))

    def of_states(self, states: Tensor) -> Tensor:
        """What states (M, D) give to the first layer's sums: (C, M, H), without activation."""
        weight, bias = self.weights[0][:, : self.width], self.biases[0]
        states = as_factor(states)  # before it is repeated, not after
        return torch.baddbmm(bias, states.expand(len(weight), *states.shape), weight)

    def of_actions(self, base: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (C, M, G, K, O) at `base`, as `of_states` gives it, and actions.

        Their shape is (M or 1, G or 1, K, A). `frozen` keeps gradients off the parameters.
        """
        assert self.features is not None
        layers = self._layers(frozen)
        of_discount, of_action = layers[0][0][:, self.width :].split([1, actions.shape[-1]], 1)
        by_discount = self.features.view(1, 1, -1, 1, 1) * of_discount[:, None, None]
        by_discount = by_discount.to(base.dtype)  # or all sums would be float32 beside bfloat16
        flat = actions.reshape(-1, actions.shape[-1])
        by_action = (flat @ of_action).view(len(base), *actions.shape[:-1], -1)
        # The smaller sum first: a stored action is the same for all discounts.
        one, other = by_discount, by_action
        if actions.shape[1] == 1:
            one, other = other, one
        summed = base[:, :, None, None] + one + other  # (C, M, G, K, H)
        return self._finish(summed, layers).view(*summed.shape[:4], -1)

    @torch.no_grad()
    def of_pairs(
        self, base: Tensor, state: Tensor, discount: Tensor, actions: Tensor, member: int
    ) -> Tensor:
        """One member's outputs (P, O) without gradient, at its `base` (M, H).

        Row p is for the state `state[p]`, the discount `discount[p]` and `actions[p]` (P, A).
        """
        assert self.features is not None
        layers = list(zip(self.weights, self.biases, strict=True))
        rounded = [(w[member].to(base.dtype), b[member, 0].to(base.dtype)) for w, b in layers]
        inputs = torch.cat([self.features[discount].unsqueeze(1), actions], 1).to(base.dtype)
        hidden = base.index_select(0, state).addmm_(inputs, rounded[0][0][self.width :])
        for weight, bias in rounded[1:]:
            hidden = torch.addmm(bias, F.leaky_relu(hidden, inplace=True), weight)
        return hidden.float()

    def _finish(self, hidden: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """All layers but the first, whose outputs (C, ..., H) are overwritten: (C, M', O)."""
        for weight, bias in layers[1:]:
            active = F.leaky_relu(hidden, inplace=True).flatten(1, -2)
            hidden = torch.baddbmm(bias, active, weight)
        return hidden.float()
