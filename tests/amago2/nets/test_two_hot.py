import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amago2.nets.two_hot import ValueBins, symexp, symlog, two_hot_cross_entropy


def test_symlog_and_its_inverse_at_known_points() -> None:
    x = torch.tensor([0.0, math.e - 1, 1 - math.e, 1e5])
    assert torch.allclose(symlog(x), torch.tensor([0.0, 1.0, -1.0, 11.512935]))
    assert torch.allclose(symexp(symlog(x)), x)
    z = torch.tensor([-2.0, 0.0, 2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(symexp(z).sum(), z)
    assert torch.allclose(slope, z.abs().exp())


@pytest.mark.parametrize(("count", "spacing"), [(128, 0.18130), (64, 0.36549), (32, 0.74277)])
def test_the_papers_bins(count: int, spacing: float) -> None:
    centers = ValueBins(1e5, count).centers
    assert centers[-1].item() == pytest.approx(11.51294, abs=1e-5)
    assert centers[0].item() == pytest.approx(-11.51294, abs=1e-5)
    assert torch.allclose(centers.diff(), torch.full((count - 1,), spacing), atol=1e-5)


def test_labels_by_hand_give_the_nearer_bin_more() -> None:
    bins = ValueBins((0.0, 3.0), 4, symlog=False)
    labels = bins.encode(torch.tensor([1.25, 0.0, 3.0, -7.0, 99.0, 2.0]))
    expected = [
        [0, 0.75, 0.25, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 0],
    ]
    assert torch.allclose(labels, torch.tensor(expected, dtype=torch.float32))


@given(
    st.floats(-9e4, 9e4),
    st.sampled_from([16, 32, 64, 128, 256]),
    st.booleans(),
)
def test_round_trip(value: float, count: int, with_symlog: bool) -> None:
    bins = ValueBins(1e5, count, with_symlog)
    label = bins.encode(torch.tensor(value))
    assert label.sum().item() == pytest.approx(1, abs=1e-6)
    assert (label >= 0).all()
    assert (label > 0).sum() <= 2
    scale = abs(value) if with_symlog else 1e5
    assert bins.decode(label).item() == pytest.approx(value, abs=2e-5 * scale + 1e-4)


def test_cross_entropy_equals_the_dense_form_and_its_gradient() -> None:
    rng = torch.Generator().manual_seed(0)
    bins = ValueBins(1e5, 64)
    logits = torch.randn(4, 7, 3, 64, generator=rng, requires_grad=True)
    values = 1000 * torch.randn(7, 3, generator=rng)
    sparse = bins.cross_entropy(logits, values)
    dense = two_hot_cross_entropy(logits, bins.encode(values))
    assert torch.allclose(sparse, dense, rtol=1e-5)
    (one,) = torch.autograd.grad(sparse.sum(), logits, retain_graph=True)
    (other,) = torch.autograd.grad(dense.sum(), logits)
    assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("with_symlog", [True, False])
def test_what_a_gpu_takes_for_labels_is_equal_to_rounding(with_symlog: bool) -> None:
    bins = ValueBins((-1e3, 1e5), 64, with_symlog)
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(7, 30, generator=rng) * torch.logspace(-3, 6, 30)
    assert torch.allclose(bins.hats(values), bins.encode(values), atol=2e-5)


def test_values_are_decoded_in_float32_beside_bfloat16_products() -> None:
    probabilities = torch.eye(64)
    bins = ValueBins(1e5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = bins.decode(probabilities)
    assert torch.equal(found, bins.decode(probabilities))


def test_limits_must_be_ordered() -> None:
    with pytest.raises(ValueError, match="low < high"):
        ValueBins((5.0, 5.0), 8)
