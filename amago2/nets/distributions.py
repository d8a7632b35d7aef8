"""Action distributions: categorical, tanh-normal and Bernoulli (paper, Section 3 and App. A).

Each has `sample` (no gradient), `rsample` (differentiable), `mode` and `log_prob`, for any leading
shape (...). Actions are network representations (..., A), see `amago2.env.spaces`; with `samples`
given, that many are drawn at once, (..., K, A). `Product` joins those of several parts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from amago2.env.spaces import ActionSpec

LOG_STD_RANGE = (-5.0, 2.0)
MAX_ACTION = 0.99
"""Stored actions are clamped to +-MAX_ACTION before atanh, which is infinite at 1."""
MAX_LOG_PROB = 1e3
"""Log-densities of continuous actions are clamped to +-MAX_LOG_PROB."""


def _noise(
    draw: Callable[..., Tensor],
    shape: tuple[int, ...],
    device: torch.device,
    samples: int | None,
    rng: torch.Generator,
) -> Tensor:
    """Noise by `draw` on a device, of a shape (..., A) or, with `samples`, (..., K, A)."""
    if samples is None:
        return draw(shape, generator=rng, device=rng.device).to(device)
    noise = draw((samples, *shape), generator=rng, device=rng.device)
    return noise.to(device).movedim(0, -2)


def _uniform(like: Tensor, samples: int | None, rng: torch.Generator) -> Tensor:
    """Uniform noise in (0, 1), see `_noise`."""
    return _noise(torch.rand, like.shape, like.device, samples, rng).clamp_(1e-7, 1 - 1e-7)


def _per_sample(x: Tensor, samples: int | None) -> Tensor:
    """x (..., A), with an axis for samples before the last if there are any."""
    return x if samples is None else x.unsqueeze(-2)


@dataclass
class Categorical:
    """Discrete actions with probabilities (..., A), 0 where they are not allowed."""

    probabilities: Tensor
    allowed: Tensor | None = None
    """Boolean (..., A), if not all actions are allowed."""

    @classmethod
    def from_outputs(
        cls, logits: Tensor, limits: tuple[float, float], mask: Tensor | None = None
    ) -> "Categorical":
        """From logits (..., A); probabilities are clamped to the limits, then normalised.

        A mask (..., A) has 1 for each action that is allowed, and 0 for the others.
        """
        if mask is None:
            probabilities = logits.float().softmax(-1).clamp(*limits)
            return cls(probabilities / probabilities.sum(-1, keepdim=True))
        allowed = mask.bool()
        allowed = (allowed | ~allowed.any(-1, keepdim=True)).expand_as(logits)
        shares = logits.float().masked_fill(~allowed, -torch.inf).softmax(-1)
        probabilities = shares.clamp(*limits) * allowed
        return cls(probabilities / probabilities.sum(-1, keepdim=True), allowed)

    def _log(self) -> Tensor:
        """Logarithms of the probabilities; of 0, a number with which one can calculate."""
        if self.allowed is None:
            return self.probabilities.log()
        return self.probabilities.clamp(min=1e-30).log()

    def mode(self) -> Tensor:
        """The likeliest action (..., A)."""
        return F.one_hot(self.probabilities.argmax(-1), self.probabilities.shape[-1]).float()

    def sample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A) without gradient."""
        p = self.probabilities
        below = p[..., :-1].cumsum(-1)  # probability of an action up to each
        draw = _noise(torch.rand, (*p.shape[:-1], 1), p.device, samples, rng)
        index = (_per_sample(below, samples) <= draw).sum(-1, keepdim=True)
        if self.allowed is not None:  # rounding may lead past the last one that is
            place = torch.arange(self.allowed.shape[-1], device=index.device)
            last = (place * self.allowed).amax(-1, keepdim=True)
            index = index.minimum(_per_sample(last, samples))
        # Not F.one_hot, whose checks take longer than all of this.
        none = (
            torch.zeros_like(p) if samples is None else p.new_zeros(*draw.shape[:-1], p.shape[-1])
        )
        return none.scatter_(-1, index, 1.0)

    def rsample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A) by straight-through Gumbel-softmax, temperature 0.5."""
        noise = -torch.log(-torch.log(_uniform(self.probabilities, samples, rng)))
        soft = ((_per_sample(self._log(), samples) + noise) / 0.5).softmax(-1)
        hard = F.one_hot(soft.argmax(-1), soft.shape[-1]).float()
        return hard + soft - soft.detach()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability (...) of actions (..., A)."""
        return (self._log() * action).sum(-1)


@dataclass
class TanhNormal:
    """Continuous actions in [-1, 1]: tanh of a normal with mean and log_std (..., A)."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def from_outputs(cls, outputs: Tensor) -> "TanhNormal":
        """From network outputs (..., 2 A): means, then raw log standard deviations."""
        mean, raw = outputs.float().chunk(2, -1)
        low, high = LOG_STD_RANGE
        return cls(mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1))

    def rsample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A), differentiable in the parameters."""
        noise = _noise(torch.randn, self.mean.shape, self.mean.device, samples, rng)
        mean, std = _per_sample(self.mean, samples), _per_sample(self.log_std.exp(), samples)
        return torch.tanh(mean + std * noise)

    def sample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A) without gradient."""
        return self.rsample(rng, samples).detach()

    def mode(self) -> Tensor:
        """The action (..., A) of the normal's mean."""
        return torch.tanh(self.mean)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density (...) of actions (..., A)."""
        density: Tensor = _TanhNormalLogProb.apply(self.mean, self.log_std, action)  # type: ignore[no-untyped-call]
        return density


class _TanhNormalLogProb(torch.autograd.Function):
    """Log-density (...) of actions (..., A): half the kernels of its operations' own gradients."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        x = torch.atanh(action.clamp(-MAX_ACTION, MAX_ACTION))
        std = log_std.exp()
        z = (x - mean) / std
        normal = -0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2.0) - x - F.softplus(-2 * x))  # ln(1 - tanh(x)^2), stably
        density = (normal - log_slope).sum(-1)
        ctx.save_for_backward(z, std, density.abs() <= MAX_LOG_PROB)
        return density.clamp(-MAX_LOG_PROB, MAX_LOG_PROB)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        z, std, inside = ctx.saved_tensors
        gradient = (gradient * inside).unsqueeze(-1)
        by_z = gradient * z
        return by_z / std, by_z * (z / std) * std - gradient, None


@dataclass
class Bernoulli:
    """MultiBinary actions: independent buttons with logits (..., A). Not reparametrisable."""

    logits: Tensor

    @classmethod
    def from_outputs(cls, logits: Tensor) -> "Bernoulli":
        """From logits (..., A)."""
        return cls(logits.float())

    def sample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A) without gradient."""
        share = _per_sample(self.logits.detach().sigmoid(), samples)
        return (_uniform(self.logits, samples, rng) < share).float()

    def mode(self) -> Tensor:
        """The likeliest action (..., A)."""
        return (self.logits > 0).float()

    def rsample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Raise `ValueError`: there is no such gradient."""
        raise ValueError("a policy gradient through MultiBinary actions is not defined")

    def log_prob(self, action: Tensor) -> Tensor:
        """Mean log-probability (...) of the buttons (..., A), as in the published code."""
        return -F.binary_cross_entropy_with_logits(
            self.logits, action.expand_as(self.logits), reduction="none"
        ).mean(-1)


@dataclass
class Product:
    """Actions of several parts, each with a distribution of its own."""

    parts: tuple["ActionDistribution", ...]
    sizes: tuple[int, ...]
    """A of each part."""

    def sample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A) without gradient."""
        return torch.cat([part.sample(rng, samples) for part in self.parts], -1)

    def rsample(self, rng: torch.Generator, samples: int | None = None) -> Tensor:
        """Actions (..., A), differentiable in the parameters."""
        return torch.cat([part.rsample(rng, samples) for part in self.parts], -1)

    def mode(self) -> Tensor:
        """Each part's likeliest action (..., A)."""
        return torch.cat([part.mode() for part in self.parts], -1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Sum of the parts' log-probabilities (...) of actions (..., A)."""
        each = zip(self.parts, action.split(self.sizes, -1), strict=True)
        logs = [part.log_prob(own) for part, own in each]
        return torch.stack(logs).sum(0)


ActionDistribution = Categorical | TanhNormal | Bernoulli | Product


def parameter_count(actions: ActionSpec) -> int:
    """Network outputs that parametrise one distribution."""
    if actions.kind == "product":
        return sum(map(parameter_count, actions.parts))
    return 2 * actions.size if actions.kind == "continuous" else actions.size


def make_distribution(
    actions: ActionSpec,
    outputs: Tensor,
    probability_limits: tuple[float, float],
    mask: Tensor | None = None,
) -> ActionDistribution:
    """The distribution parametrised by `outputs` (..., `parameter_count(actions)`).

    `probability_limits` are those of discrete actions. A `mask` (..., A) has 1 for each discrete
    choice that is allowed, and 0 for the others.
    """
    if actions.kind == "product":
        counts = [parameter_count(part) for part in actions.parts]
        sizes = tuple(part.size for part in actions.parts)
        masks = [None] * len(sizes) if mask is None else mask.split(sizes, -1)
        each = zip(actions.parts, outputs.split(counts, -1), masks, strict=True)
        parts = (make_distribution(a, o, probability_limits, m) for a, o, m in each)
        return Product(tuple(parts), sizes)
    if actions.kind == "discrete":
        return Categorical.from_outputs(outputs, probability_limits, mask)
    if actions.kind == "continuous":
        return TanhNormal.from_outputs(outputs)
    return Bernoulli.from_outputs(outputs)
