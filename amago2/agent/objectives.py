"""Section 3 of the paper on one page: TD target, two critic losses, two actor losses, the filter.

Pure functions of flat transitions. M transitions, G discounts, C critics, N bins. `_t` is the time
of the action, `_n` the time bootstrapped from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amago2.nets.popart import PopArt
from amago2.nets.value_bins import ValueBins


@dataclass(frozen=True)
class Transitions:
    """n-step transitions (s_t, a_t, R, s_n), flattened over the valid timesteps of a batch."""

    index_t: Tensor  # (M,) int64 position of s_t in the flattened (B * L) tokens
    index_n: Tensor  # (M,) int64 position of s_n
    returns: Tensor  # (M, G) discounted rewards from t up to n
    discounts: Tensor  # (M, G) what the value at n is multiplied by; 0 after termination


def n_step_transitions(
    rewards: Tensor, terminated: Tensor, valid: Tensor, discounts: Tensor, n: int
) -> Transitions:
    """Transitions of rewards, terminated, valid (B, T) between tokens t and t + 1, L = T + 1.

    A sum stops at termination and bootstraps early where the valid part of the sequence ends.
    """
    batch, length = rewards.shape
    start = torch.arange(length, device=rewards.device).expand(batch, length)
    returns = torch.zeros(batch, length, len(discounts), device=rewards.device)
    running = torch.ones_like(returns)
    reached = start.clone()
    alive = valid.clone()
    for k in range(n):
        step = start + k
        inside = step < length
        at = step.clamp(max=length - 1)
        alive = alive & inside & valid.gather(1, at)
        returns = returns + alive.unsqueeze(-1) * running * rewards.gather(1, at).unsqueeze(-1)
        running = torch.where(alive.unsqueeze(-1), running * discounts, running)
        reached = torch.where(alive, step + 1, reached)
        ended = alive & terminated.gather(1, at)
        running = torch.where(ended.unsqueeze(-1), 0.0, running)
        alive = alive & ~ended
    offset = torch.arange(batch, device=rewards.device).unsqueeze(1) * (length + 1)
    return Transitions(
        (start + offset)[valid], (reached + offset)[valid], returns[valid], running[valid]
    )


def subset(members: int, size: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """Which `size` members (size, M, G) int64 count for each of `like` (M, G), with replacement."""
    index = torch.randint(members, (size, *like.shape), generator=rng, device=rng.device)
    return index.to(like.device)


def td_target(transitions: Transitions, value_n: Tensor) -> Tensor:
    """y = R + gamma^n (1 - d) Qbar(s_n, a'), (M, G), for value_n (M, G)."""
    return transitions.returns + transitions.discounts * value_n


def two_hot_loss(bins: ValueBins, logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with two-hot labels (paper, Eq. 5): logits (C, M, G, N), target (M, G)."""
    return bins.cross_entropy(logits, target).mean()


def popart_loss(popart: PopArt, outputs: Tensor, target: Tensor) -> Tensor:
    """Squared TD error in normalised units: outputs (C, M, G), target (M, G)."""
    return ((popart.normalised(outputs) - popart.normalise(target)) ** 2).mean()


def advantage_filter(
    advantage: Tensor,
    kind: Literal["binary", "exponential", "none"],
    threshold: float,
    std: Callable[[Tensor], Tensor] = torch.std,
) -> Tensor:
    """Weight of imitating each replayed action, of advantage (...): paper, Eq. 6.

    binary: 1 where the advantage exceeds the threshold.
    exponential: min(exp(A / sigma), 20), sigma the standard deviation `std` of all advantages:
    AWAC's weights (Nair et al. 2020) with the bound of CRR's (Wang et al. 2020), whose temperature
    is a constant where sigma follows the scale of the batch's returns.
    none: 1, plain imitation.
    """
    if kind == "binary":
        return (advantage > threshold).float()
    if kind == "exponential":
        return (advantage / std(advantage).clamp(min=1e-6)).exp().clamp(max=20.0)
    return torch.ones_like(advantage)


def filtered_imitation_loss(log_prob: Tensor, weight: Tensor) -> Tensor:
    """-f(s, a) log pi(a | s), averaged over transitions and discounts; both (M, G)."""
    return -(weight.detach() * log_prob).mean()


def policy_gradient_loss(q: Tensor) -> Tensor:
    """-Q(s, a ~ pi) for q (M, G) in normalised units, averaged over transitions and discounts."""
    return -q.mean()
