"""The two critics, with one interface.

`embed_states` computes what all actions of a state share, `outputs` the network outputs for that
and actions, and `values` the returns that outputs stand for.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from amago2.env.spaces import ActionSpec
from amago2.nets.critic_ensemble import CriticEnsemble
from amago2.nets.popart import PopArt
from amago2.nets.two_hot import ValueBins


class TwoHotCritic(nn.Module):
    """Classifies the return of (state, discount, action) into N bins: no scale in its loss."""

    def __init__(
        self,
        members: int,
        width: int,
        hidden: Sequence[int],
        discounts: Tensor,
        actions: ActionSpec,
        bins: ValueBins,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.net = CriticEnsemble(
            members,
            width,
            hidden,
            len(bins.centers),
            discounts,
            actions.size,
            clamp_actions=actions.kind == "continuous",
        )

    def embed_states(self, states: Tensor) -> Tensor:
        """The states' part (C, M, H) of the first layer, for states (M, D)."""
        return self.net.embed_states(states)

    def outputs(self, embedded: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Logits (C, M, G, K, N) for `embed_states` and actions (M or 1, G or 1, K, A)."""
        return self.net.outputs(embedded, actions, frozen)

    def values(self, outputs: Tensor) -> Tensor:
        """Returns (C, M, G, K) of logits (C, M, G, K, N)."""
        return self.bins.decode(outputs.float().softmax(-1))


class PopArtCritic(nn.Module):
    """Regresses the PopArt-normalised return; with discrete actions, one output for each.

    `popart` is shared with the agent, so it is kept out of this module's parameters and buffers.
    """

    def __init__(
        self,
        members: int,
        width: int,
        hidden: Sequence[int],
        discounts: Tensor,
        actions: ActionSpec,
        popart: PopArt,
    ) -> None:
        super().__init__()
        self._popart = [popart]
        self.discounts = len(discounts)
        self.per_action = actions.kind == "discrete"
        if self.per_action:
            self.net = CriticEnsemble(members, width, hidden, len(discounts) * actions.size)
        else:
            self.net = CriticEnsemble(
                members,
                width,
                hidden,
                1,
                discounts,
                actions.size,
                clamp_actions=actions.kind == "continuous",
            )

    def embed_states(self, states: Tensor) -> Tensor:
        """Outputs (C, M, G, A) of all discrete actions for states (M, D).

        For other actions, the states' part (C, M, H) of the first layer.
        """
        if not self.per_action:
            return self.net.embed_states(states)
        return self.net(states).unflatten(-1, (self.discounts, -1))

    def outputs(self, embedded: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (C, M, G, K) for `embed_states` and actions (M or 1, G or 1, K, A).

        A discrete action may be a vector of probabilities: the output is then the expectation.
        """
        if not self.per_action:
            return self.net.outputs(embedded, actions, frozen).squeeze(-1)
        return (embedded.unsqueeze(-2) * actions).sum(-1)

    def values(self, outputs: Tensor) -> Tensor:
        """Returns (C, M, G, K) of outputs (C, M, G, K), by the present statistics of PopArt."""
        return self._popart[0].values(outputs.transpose(-1, -2)).transpose(-1, -2)


Critic = TwoHotCritic | PopArtCritic
