"""Actor and critic heads. Every discount has its own policy and its own values."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.distributions import Policy, make_policy, policy_outputs
from amago2.nets.timestep_encoders import mlp
from amago2.spaces import ActionSpec
from amago2.value_bins import symlog


class Actor(nn.Module):
    """States (..., D) -> policies with leading shape (..., G)."""

    def __init__(
        self, width: int, hidden: Sequence[int], discounts: int, actions: ActionSpec
    ) -> None:
        super().__init__()
        self.actions, self.discounts = actions, discounts
        self.net = mlp([width, *hidden, discounts * policy_outputs(actions)])

    def forward(self, states: Tensor) -> Policy:
        """Policies of every discount."""
        return make_policy(self.actions, self.net(states).unflatten(-1, (self.discounts, -1)))


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

    def forward(self, states: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (C, M, O) for states (M, D); `frozen` keeps gradients off the parameters."""
        layers = self._layers(frozen)
        hidden = states.expand(len(layers[0][0]), *states.shape)
        return self._finish(torch.baddbmm(layers[0][1], hidden, layers[0][0]), layers)

    def of_actions(self, states: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (C, M, G, K, O) for states (M, D) and actions (M or 1, G or 1, K, A)."""
        assert self.features is not None
        layers = self._layers(frozen)
        weight, bias = layers[0]
        of_state, of_discount = weight[:, : self.width], weight[:, self.width]
        of_action = weight[:, self.width + 1 :]
        members = len(weight)
        base = torch.baddbmm(bias, states.expand(members, *states.shape), of_state)  # (C, M, H)
        by_discount = self.features.view(1, 1, -1, 1, 1) * of_discount[:, None, None, None]
        by_discount = by_discount.to(base.dtype)  # or all sums would be float32 beside bfloat16
        flat = actions.reshape(-1, actions.shape[-1])
        by_action = (flat @ of_action).view(members, *actions.shape[:-1], -1)
        summed = base[:, :, None, None] + by_discount + by_action  # (C, M, G, K, H)
        return self._finish(summed, layers).view(*summed.shape[:4], -1)

    def _finish(self, hidden: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """All layers but the first, whose outputs (C, ..., H) are overwritten: (C, M', O)."""
        for weight, bias in layers[1:]:
            active = F.leaky_relu(hidden, inplace=True).flatten(1, -2)
            hidden = torch.baddbmm(bias, active, weight)
        return hidden.float()
