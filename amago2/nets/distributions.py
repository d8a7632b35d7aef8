"""Policies: categorical, tanh-normal and Bernoulli (algorithm of the paper, Section 3 and App. A).

Each has `sample` (no gradient), `rsample` (differentiable), `log_prob` and works on any leading
shape (...); actions are representations (..., A), see `amago2.env.spaces`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from amago2.env.spaces import ActionSpec

MIN_PROBABILITY = 1e-6
LOG_STD_RANGE = (-5.0, 2.0)
EDGE = 0.995
"""Stored actions are pulled inside +-EDGE before atanh, which is infinite at 1."""


def _uniform(like: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform noise in (0, 1) of the shape of `like`."""
    noise = torch.rand(like.shape, generator=rng, device=rng.device, dtype=like.dtype)
    return noise.to(like.device).clamp_(1e-7, 1 - 1e-7)


@dataclass
class Categorical:
    """Discrete policy; probabilities (..., A) are kept in [1e-6, 1]."""

    probabilities: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "Categorical":
        """From logits (..., A)."""
        probabilities = logits.float().softmax(-1).clamp(min=MIN_PROBABILITY)
        return cls(probabilities / probabilities.sum(-1, keepdim=True))

    def sample(self, rng: torch.Generator) -> Tensor:
        """Actions (..., A) without gradient."""
        below = self.probabilities[..., :-1].cumsum(-1)  # chance of each action or one before
        draw = torch.rand((*below.shape[:-1], 1), generator=rng, device=rng.device)
        index = (below <= draw.to(below.device)).sum(-1, keepdim=True)
        # Without the checks of F.one_hot, which take longer than all of this.
        return torch.zeros_like(self.probabilities).scatter_(-1, index, 1.0)

    def rsample(self, rng: torch.Generator) -> Tensor:
        """Straight-through Gumbel-softmax, temperature 0.5."""
        noise = -torch.log(-torch.log(_uniform(self.probabilities, rng)))
        soft = ((self.probabilities.log() + noise) / 0.5).softmax(-1)
        hard = F.one_hot(soft.argmax(-1), soft.shape[-1]).float()
        return hard + soft - soft.detach()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability or density (...) of actions (..., A)."""
        return (self.probabilities.log() * action).sum(-1)


@dataclass
class TanhNormal:
    """Continuous policy on [-1, 1]: tanh of a normal with mean and log_std (..., A)."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> "TanhNormal":
        """From outputs (..., 2 A): means, then raw log standard deviations."""
        mean, raw = outputs.float().chunk(2, -1)
        low, high = LOG_STD_RANGE
        return cls(mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1))

    def rsample(self, rng: torch.Generator) -> Tensor:
        """Actions (..., A), differentiable in the parameters."""
        noise = torch.randn(self.mean.shape, generator=rng, device=rng.device)
        return torch.tanh(self.mean + self.log_std.exp() * noise.to(self.mean.device))

    def sample(self, rng: torch.Generator) -> Tensor:
        """Actions (..., A) without gradient."""
        return self.rsample(rng).detach()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability or density (...) of actions (..., A)."""
        x = torch.atanh(action.clamp(-EDGE, EDGE))
        normal = (
            -0.5 * ((x - self.mean) / self.log_std.exp()) ** 2
            - self.log_std
            - 0.5 * math.log(2 * math.pi)
        )
        log_slope = 2 * (math.log(2.0) - x - F.softplus(-2 * x))  # ln(1 - tanh(x)^2), stably
        return (normal - log_slope).sum(-1).clamp(-1e3, 1e3)


@dataclass
class Bernoulli:
    """MultiBinary policy: independent buttons with logits (..., A). Not reparameterisable."""

    logits: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "Bernoulli":
        """From logits (..., A)."""
        return cls(logits.float())

    def sample(self, rng: torch.Generator) -> Tensor:
        """Actions (..., A) without gradient."""
        return (_uniform(self.logits, rng) < self.logits.detach().sigmoid()).float()

    def rsample(self, rng: torch.Generator) -> Tensor:
        """Raise `ValueError`."""
        raise ValueError("a policy gradient through MultiBinary actions is not defined")

    def log_prob(self, action: Tensor) -> Tensor:
        """Mean over buttons, as published."""
        return -F.binary_cross_entropy_with_logits(
            self.logits, action.expand_as(self.logits), reduction="none"
        ).mean(-1)


Policy = Categorical | TanhNormal | Bernoulli


def policy_outputs(actions: ActionSpec) -> int:
    """Network outputs that parametrise one policy."""
    return 2 * actions.size if actions.kind == "continuous" else actions.size


def make_policy(actions: ActionSpec, outputs: Tensor) -> Policy:
    """The policy parametrised by `outputs` (..., `policy_outputs(actions)`)."""
    kinds = {"discrete": Categorical, "continuous": TanhNormal, "multibinary": Bernoulli}
    policy: Policy = kinds[actions.kind].of(outputs)  # type: ignore[attr-defined]
    return policy
