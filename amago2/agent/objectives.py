"""Section 3 of the paper on one page: TD target, two critic losses, two actor losses, the filter.

Pure functions of flat transitions: M transitions, G discounts, C critics, N bins. The suffix `_t`
means the timestep of the action, `_n` the one that is bootstrapped from. The agent's losses are the
means of what the four loss functions give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amago2.nets.popart import PopArt
from amago2.nets.rows import Rows
from amago2.nets.two_hot import ValueBins


@dataclass(frozen=True)
class Transitions:
    """n-step transitions (s_t, a_t, R, s_n), flattened over the valid timesteps of a batch."""

    rows_t: Rows  # of s_t in the flattened (B * L) tokens
    index_n: Tensor  # (M,) int64 position of s_n in them
    returns: Tensor  # (M, G) discounted rewards from t up to n
    discounts: Tensor  # (M, G) what the value at n is multiplied by; 0 after termination


def n_step_transitions(
    rewards: Tensor, terminated: Tensor, valid: Tensor, discounts: Tensor, n: int
) -> Transitions:
    """n-step transitions from rewards, terminated, valid (B, T), each of token t to t + 1.

    Discounts are (G,). A return stops at termination, and bootstraps early where the valid part of
    the sequence ends. Indices count tokens, of which a sequence has L = T + 1.
    """
    batch, length = rewards.shape
    start = torch.arange(length, device=rewards.device).expand(batch, length)
    returns = torch.zeros(batch, length, len(discounts), device=rewards.device)
    running = torch.ones_like(returns)
    bootstrap = start.clone()
    alive = valid.clone()
    for k in range(n):
        step = start + k
        inside = step < length
        at = step.clamp(max=length - 1)
        alive = alive & inside & valid.gather(1, at)
        returns = returns + alive.unsqueeze(-1) * running * rewards.gather(1, at).unsqueeze(-1)
        running = torch.where(alive.unsqueeze(-1), running * discounts, running)
        bootstrap = torch.where(alive, step + 1, bootstrap)
        ended = alive & terminated.gather(1, at)
        running = torch.where(ended.unsqueeze(-1), 0.0, running)
        alive = alive & ~ended
    offset = torch.arange(batch, device=rewards.device).unsqueeze(1) * (length + 1)
    rows_t = Rows.of((start + offset)[valid], batch * (length + 1))
    return Transitions(rows_t, (bootstrap + offset)[valid], returns[valid], running[valid])


def sample_members(members: int, size: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw `size` of the ensemble's members, with replacement, for each entry of `like` (M, G).

    Returns indices (size, M, G) int64.
    """
    index = torch.randint(members, (size, *like.shape), generator=rng, device=rng.device)
    return index.to(like.device)


def td_target(transitions: Transitions, value_n: Tensor) -> Tensor:
    """y = R + gamma^n (1 - d) Qbar(s_n, a'), (M, G); value_n (M, G) is Qbar(s_n, a')."""
    return transitions.returns + transitions.discounts * value_n


def two_hot_loss(bins: ValueBins, logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy (C, M, G) with two-hot labels: paper, Eq. 5.

    logits (C, M, G, N), target (M, G).
    """
    return bins.cross_entropy(logits, target)


def popart_loss(popart: PopArt, outputs: Tensor, target: Tensor) -> Tensor:
    """Squared TD error (C, M, G) in normalised units: outputs (C, M, G), target (M, G)."""
    return (popart.normalised_outputs(outputs) - popart.normalise(target)) ** 2


def advantage_filter(
    advantage: Tensor,
    kind: Literal["binary", "exponential", "none"],
    threshold: float,
    std: Callable[[Tensor], Tensor] = torch.std,
) -> Tensor:
    """Weight (...) of imitating each replayed action, for its advantage (...): paper, Eq. 6.

    binary: 1 where the advantage exceeds the threshold.
    exponential: min(exp(A / sigma), 20), where sigma is the standard deviation `std` of all
    advantages. These are AWAC's weights (Nair et al. 2020) with the bound of CRR's (Wang et al.
    2020); CRR's temperature is a constant, while sigma follows the scale of the batch's returns.
    none: 1, plain imitation.
    """
    if kind == "binary":
        return (advantage > threshold).float()
    if kind == "exponential":
        return (advantage / std(advantage).clamp(min=1e-6)).exp().clamp(max=20.0)
    return torch.ones_like(advantage)


def filtered_imitation_loss(log_prob: Tensor, weight: Tensor) -> Tensor:
    """-f(s, a) log pi(a | s); all (M, G)."""
    return -(weight.detach() * log_prob)


def policy_gradient_loss(q: Tensor) -> Tensor:
    """-Q(s, a ~ pi); both (M, G), in normalised units."""
    return -q
