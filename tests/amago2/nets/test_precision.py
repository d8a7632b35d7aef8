"""Weights that are fixed while acting."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.precision import Affine, FixedAffine
from amago2.nets.timestep_encoders import Mlp
from amago2.seeding import seeded_init

BIG, SMALL = (192, 256), (20, 30)


def layer(shape: tuple[int, int], bias: bool = True) -> Affine:
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=rng).requires_grad_()
    return Affine(weight, torch.randn(shape[0], generator=rng) if bias else None)


@torch.no_grad()
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [BIG, SMALL])
@pytest.mark.parametrize("rows", [(), (0,), (5,), (2, 3)])
def test_fixed_products_are_the_plain_ones(
    rows: tuple[int, ...], shape: tuple[int, int], bias: bool, half: bool
) -> None:
    """In bfloat16, those of factors that are rounded before."""
    plain = layer(shape, bias)
    fixed = plain.fixed(half)
    x = torch.randn(*rows, shape[1], generator=torch.Generator().manual_seed(1))
    rounded = half and shape == BIG
    left, right = (y.bfloat16().float() if rounded else y for y in (x, plain.weight))
    expected = F.linear(left, right, plain.bias)
    found = fixed.of(x)
    assert found.dtype == torch.float32
    tolerance = 2**-6 if rounded else 1e-5  # of sums of some 16
    for one, other in (
        (found, expected),
        (fixed.activated(x).float(), F.leaky_relu(expected)),
    ):
        assert torch.allclose(one, other, rtol=tolerance, atol=16 * tolerance)


def test_only_large_weights_are_packed_and_rounded() -> None:
    for half, kind in ((False, torch.float32), (True, torch.bfloat16)):
        big, small = layer(BIG).fixed(half).weight, layer(SMALL).fixed(half).weight
        assert big.is_mkldnn
        assert big.dtype == kind
        assert not small.is_mkldnn
        assert small.dtype == torch.float32
        assert not big.requires_grad
        assert not small.requires_grad


@torch.no_grad()
@pytest.mark.parametrize("half", [False, True])
def test_without_packed_products_plain_ones_do(half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On builds of PyTorch without oneDNN."""
    packed = layer(BIG).fixed(half)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = layer(BIG).fixed(half)
    assert isinstance(plain, FixedAffine)
    assert not plain.weight.is_mkldnn
    x = torch.randn(4, BIG[1], generator=torch.Generator().manual_seed(1))
    for one, other in (
        (packed.of(x), plain.of(x)),
        (packed.activated(x).float(), plain.activated(x)),
    ):
        assert torch.allclose(one, other, rtol=2**-6 if half else 1e-5, atol=1e-3)


@torch.no_grad()
def test_a_copy_of_a_net_that_acts_acts_alike() -> None:
    with seeded_init(0):
        net = Mlp([30, 256, 256, 4]).eval()

    def outputs(of: nn.Module) -> Tensor:
        y: Tensor = of(torch.ones(2, 30))
        return y

    assert torch.allclose(outputs(copy.deepcopy(net)), outputs(net), atol=1e-5)
