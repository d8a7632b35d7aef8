import numpy as np
import pytest
import torch

from amago2.env.spaces import ActionSpec
from amago2.nets.distributions import Bernoulli, Categorical, TanhNormal, make_distribution


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1.0), (0.001, 0.99)])
def test_categorical_keeps_probabilities_within_limits(low: float, high: float) -> None:
    policy = Categorical.from_outputs(torch.tensor([100.0, 0.0, 0.0]), (low, high))
    expected = np.array([high, low, low]) / (high + 2 * low)
    assert policy.probabilities.numpy() == pytest.approx(expected, rel=1e-5)
    taken = torch.tensor([0.0, 1.0, 0.0])
    assert policy.log_prob(taken).item() == pytest.approx(np.log(expected[1]), rel=1e-5)
    share = policy.sample(rng(), 20_000)[:, 0].mean().item()  # what is sampled from
    assert share == pytest.approx(expected[0], abs=2e-3)


def test_categorical_samples_by_its_probabilities() -> None:
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(20_000, 3)
    policy = Categorical.from_outputs(logits, (1e-6, 1.0))
    for samples in (policy.sample(rng()), policy.rsample(rng(1))):
        assert torch.allclose(samples.mean(0), torch.tensor([0.1, 0.2, 0.7]), atol=0.015)
        assert torch.allclose(samples.sum(-1), torch.ones(20_000))


def test_tanh_normal_density_and_its_gradient_are_torchs() -> None:
    outputs = (4 * torch.randn(50, 6, generator=rng())).requires_grad_()
    policy = TanhNormal.from_outputs(outputs)
    action = torch.rand(50, 3, generator=rng(1)) * 1.8 - 0.9
    reference = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(policy.mean, policy.log_std.exp()),
        [torch.distributions.TanhTransform()],
    )
    expected = reference.log_prob(action).sum(-1).clamp(-1e3, 1e3)
    found = policy.log_prob(action)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert (found.abs() == 1e3).any(), "some are clamped"
    weights = torch.randn(50, generator=rng(2))
    (one,) = torch.autograd.grad(found @ weights, outputs, retain_graph=True)
    (other,) = torch.autograd.grad(expected @ weights, outputs)
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)
    assert policy.log_prob(torch.ones(50, 3)).isfinite().all()
    assert -5 <= policy.log_std.min()
    assert policy.log_std.max() <= 2


def test_tanh_normal_rsample_carries_gradients() -> None:
    outputs = torch.zeros(4, 2, requires_grad=True)
    TanhNormal.from_outputs(outputs).rsample(rng()).sum().backward()
    assert outputs.grad is not None
    assert (outputs.grad[:, 0] > 0).all()


def test_bernoulli_by_hand() -> None:
    policy = Bernoulli.from_outputs(torch.tensor([0.0, np.log(3.0)]))
    expected = (np.log(0.5) + np.log(0.25)) / 2  # the mean over buttons
    assert policy.log_prob(torch.tensor([1.0, 0.0])).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="MultiBinary"):
        policy.rsample(rng())


@pytest.mark.parametrize("kind", ["discrete", "continuous", "multibinary"])
def test_same_generator_same_actions(kind: str) -> None:
    spec = ActionSpec(kind, 4, -np.ones(4), np.ones(4))  # type: ignore[arg-type]
    policy = make_distribution(
        spec, torch.randn(5, 7, 8 if kind == "continuous" else 4, generator=rng()), (0.001, 0.99)
    )
    assert torch.equal(policy.sample(rng(3)), policy.sample(rng(3)))
    assert policy.sample(rng(3)).shape == (5, 7, 4)
    assert policy.log_prob(policy.sample(rng(3))).shape == (5, 7)
