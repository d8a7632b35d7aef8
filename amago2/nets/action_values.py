"""Values of actions, computed in passes that suit the device and each only once.

On a GPU all values are computed in one pass. On a CPU without gradient they are computed in chunks
that stay in its cache, and only where they are needed.
"""

import torch
from torch import Tensor

from amago2.nets.critics import Critic, TwoHotCritic

STATES_PER_CHUNK = 128
"""States whose values are computed together on a CPU: what they need then stays in its cache."""
PAIRS_PER_CHUNK = 2560
"""State-action pairs of one ensemble member that are computed together, for the same reason."""
PAD_MULTIPLE = 256
"""The last chunk of pairs is padded to a multiple of this: products of a new shape take longer."""


def in_one_pass(embedded: Tensor) -> bool:
    """Whether to compute all values together, in shapes that do not depend on their content."""
    return embedded.is_cuda


def compute(critic: Critic, embedded: Tensor, actions: Tensor) -> Tensor:
    """Values (C, M, G, K) of actions (M or 1, G or 1, K, A), the critic's parameters frozen.

    `embedded` is what `critic.embed_states` gives for M states.
    """
    if torch.is_grad_enabled() or in_one_pass(embedded):
        return critic.values(critic.outputs(embedded, actions, frozen=True))
    chunks = [
        critic.values(critic.outputs(chunk, _rows(actions, STATES_PER_CHUNK * i), frozen=True))
        for i, chunk in enumerate(embedded.split(STATES_PER_CHUNK, 1))
    ]
    return torch.cat(chunks, 1)


def _rows(actions: Tensor, start: int) -> Tensor:
    return actions if len(actions) == 1 else actions[start : start + STATES_PER_CHUNK]


@torch.no_grad()
def compute_masked(critic: TwoHotCritic, embedded: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Values (C, M, G, K) where `mask` (C, M, G, K) is true, else 0.

    The other arguments are those of `compute`.
    """
    found = torch.zeros(mask.shape, device=embedded.device)
    for member, needed in enumerate(mask):
        m, g, k = needed.nonzero(as_tuple=True)
        vectors = actions[m if len(actions) > 1 else 0, g if actions.shape[1] > 1 else 0, k]
        chunks = zip(*(_padded(x).split(PAIRS_PER_CHUNK) for x in (m, g, vectors)), strict=True)
        values = [
            critic.values(
                critic.net.member_outputs(embedded[member], state, discount, vector, member)
            )
            for state, discount, vector in chunks
        ]
        found[member, m, g, k] = torch.cat(values)[: len(m)]
    return found


def _padded(x: Tensor) -> Tensor:
    """`x` (P, ...) followed by zeros, up to a multiple of `PAD_MULTIPLE`."""
    return torch.cat([x, x.new_zeros(-len(x) % PAD_MULTIPLE, *x.shape[1:])])
