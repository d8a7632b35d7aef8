"""The networks of an ensemble of critics, computed together as batched products."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.precision import autocast_input
from amago2.nets.two_hot import symlog

MAX_ACTION = 0.999
"""Continuous actions are clamped to +-MAX_ACTION before a critic sees them, so that a policy
gradient has no reason to push them to the border (as in the published code)."""


def discount_feature(discounts: Tensor) -> Tensor:
    """Input (G,) that shows a critic its discount: symlog of the effective horizon."""
    return symlog(1 / (1 - discounts).clamp(1e-6, 1))


class CriticEnsemble(nn.Module):
    """C independent MLPs; outputs (C, M, ..., O).

    With `discounts`, the input is (state, discount feature, action), evaluated for every discount.
    The first layer is split by input, so that the state's product is computed once for all
    discounts and actions. Without, the input is the state alone.
    """

    features: Tensor | None  # (G,) of the discounts

    def __init__(
        self,
        members: int,
        width: int,
        hidden: Sequence[int],
        outputs: int,
        discounts: Tensor | None = None,
        actions: int = 0,
        clamp_actions: bool = False,
    ) -> None:
        super().__init__()
        self.clamp_actions = clamp_actions
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
        """Weight and bias of each layer, without gradient if `frozen`."""
        pairs = list(zip(self.weights, self.biases, strict=True))
        return [(w.detach(), b.detach()) for w, b in pairs] if frozen else pairs

    def forward(self, states: Tensor) -> Tensor:
        """Outputs (C, M, O) for states (M, D)."""
        return self._later_layers(self.embed_states(states), self._layers(False))

    def embed_states(self, states: Tensor) -> Tensor:
        """The states' part (C, M, H) of the first layer's sums, for states (M, D)."""
        weight, bias = self.weights[0][:, : self.width], self.biases[0]
        states = autocast_input(states)  # before it is repeated, not after
        return torch.baddbmm(bias, states.expand(len(weight), *states.shape), weight)

    def outputs(self, embedded: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (C, M, G, K, O) for `embed_states` (C, M, H) and actions (M or 1, G or 1, K, A).

        `frozen` keeps gradients off the parameters.
        """
        assert self.features is not None
        actions = self._clamped(actions)
        layers = self._layers(frozen)
        discount_rows, action_rows = layers[0][0][:, self.width :].split([1, actions.shape[-1]], 1)
        by_discount = self.features.view(1, 1, -1, 1, 1) * discount_rows[:, None, None]
        by_discount = by_discount.to(embedded.dtype)  # or all sums would be float32, not bfloat16
        flat = actions.reshape(-1, actions.shape[-1])
        by_action = (flat @ action_rows).view(len(embedded), *actions.shape[:-1], -1)
        # The smaller sum first: a stored action is the same for all discounts.
        first, second = by_discount, by_action
        if actions.shape[1] == 1:
            first, second = second, first
        summed = embedded[:, :, None, None] + first + second  # (C, M, G, K, H)
        return self._later_layers(summed, layers).view(*summed.shape[:4], -1)

    @torch.no_grad()
    def member_outputs(
        self, embedded: Tensor, state: Tensor, discount: Tensor, actions: Tensor, member: int
    ) -> Tensor:
        """One member's outputs (P, O) without gradient, at its `embed_states` (M, H).

        Row p is for the state `state[p]`, the discount `discount[p]` and `actions[p]` (P, A).
        """
        assert self.features is not None
        pairs = zip(self.weights, self.biases, strict=True)
        layers = [(w[member].to(embedded.dtype), b[member, 0].to(embedded.dtype)) for w, b in pairs]
        actions = self._clamped(actions)
        inputs = torch.cat([self.features[discount].unsqueeze(1), actions], 1).to(embedded.dtype)
        hidden = embedded.index_select(0, state).addmm_(inputs, layers[0][0][self.width :])
        for weight, bias in layers[1:]:
            hidden = torch.addmm(bias, F.leaky_relu(hidden, inplace=True), weight)
        return hidden.float()

    def _clamped(self, actions: Tensor) -> Tensor:
        return actions.clamp(-MAX_ACTION, MAX_ACTION) if self.clamp_actions else actions

    def _later_layers(self, hidden: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        """All layers but the first, whose sums (C, ..., H) are overwritten: (C, M', O)."""
        for weight, bias in layers[1:]:
            active = F.leaky_relu(hidden, inplace=True).flatten(1, -2)
            hidden = torch.baddbmm(bias, active, weight)
        return hidden.float()
