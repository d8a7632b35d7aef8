"""Values of actions where no gradient is needed, each computed once."""

import torch
from torch import Tensor

from amago2.nets.critic import Critic, TwoHotCritic

CHUNK = 128
"""States whose values are computed at once on a CPU: what they need then stays in its cache."""
ROWS = 2560
"""State-action pairs of one member that are computed at once, for the same reason."""
STEP = 256
"""The last rows are filled up to a multiple of this: a product of a new shape takes longer."""


def at_once(base: Tensor) -> bool:
    """Whether all values are best computed together, in shapes that do not depend on content."""
    return base.is_cuda


def values(critic: Critic, base: Tensor, actions: Tensor) -> Tensor:
    """Returns (C, M, G, K) at actions (M or 1, G or 1, K, A), the critic's parameters fixed.

    `base` is what `critic.of_states` gives for M states.
    """
    if torch.is_grad_enabled() or at_once(base):
        return critic.values(critic.outputs(base, actions, frozen=True))
    parts = [
        critic.values(critic.outputs(part, _rows(actions, CHUNK * i), frozen=True))
        for i, part in enumerate(base.split(CHUNK, 1))
    ]
    return torch.cat(parts, 1)


def _rows(actions: Tensor, start: int) -> Tensor:
    return actions if len(actions) == 1 else actions[start : start + CHUNK]


@torch.no_grad()
def values_where(critic: TwoHotCritic, base: Tensor, actions: Tensor, wanted: Tensor) -> Tensor:
    """Returns (C, M, G, K) where `wanted` (C, M, G, K), else 0; arguments as those of `values`."""
    found = torch.zeros(wanted.shape, device=base.device)
    for member, mask in enumerate(wanted):
        m, g, k = mask.nonzero(as_tuple=True)
        vectors = actions[m if len(actions) > 1 else 0, g if actions.shape[1] > 1 else 0, k]
        rows = zip(*(_filled(x).split(ROWS) for x in (m, g, vectors)), strict=True)
        parts = [
            critic.values(critic.net.of_pairs(base[member], state, discount, vector, member))
            for state, discount, vector in rows
        ]
        found[member, m, g, k] = torch.cat(parts)[: len(m)]
    return found


def _filled(x: Tensor) -> Tensor:
    """`x` (P, ...) with zeros behind it, up to a multiple of `STEP`."""
    return torch.cat([x, x.new_zeros(-len(x) % STEP, *x.shape[1:])])
