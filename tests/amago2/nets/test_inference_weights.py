"""Weights prepared for acting."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.nets.inference_weights import InferenceLinear, LinearWeights
from amago2.nets.mlp import Mlp
from amago2.seeding import seeded_init

BIG, SMALL = (192, 256), (20, 30)


def layer(shape: tuple[int, int], bias: bool = True) -> LinearWeights:
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=rng).requires_grad_()
    return LinearWeights(weight, torch.randn(shape[0], generator=rng) if bias else None)


@torch.no_grad()
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [BIG, SMALL])
@pytest.mark.parametrize("rows", [(), (0,), (5,), (2, 3)])
def test_inference_products_are_the_plain_ones(
    rows: tuple[int, ...], shape: tuple[int, int], bias: bool, bfloat16: bool
) -> None:
    """In bfloat16, those of factors that are rounded before."""
    plain = layer(shape, bias)
    prepared = plain.for_inference(bfloat16)
    x = torch.randn(*rows, shape[1], generator=torch.Generator().manual_seed(1))
    rounded = bfloat16 and shape == BIG
    left, right = (y.bfloat16().float() if rounded else y for y in (x, plain.weight))
    expected = F.linear(left, right, plain.bias)
    found = prepared.apply(x)
    assert found.dtype == torch.float32
    tolerance = 2**-6 if rounded else 1e-5  # of sums of some 16
    for one, other in (
        (found, expected),
        (prepared.apply_leaky_relu(x).float(), F.leaky_relu(expected)),
    ):
        assert torch.allclose(one, other, rtol=tolerance, atol=16 * tolerance)


def test_only_large_weights_are_packed_and_rounded() -> None:
    for bfloat16, kind in ((False, torch.float32), (True, torch.bfloat16)):
        big, small = (
            layer(BIG).for_inference(bfloat16).weight,
            layer(SMALL).for_inference(bfloat16).weight,
        )
        assert big.is_mkldnn
        assert big.dtype == kind
        assert not small.is_mkldnn
        assert small.dtype == torch.float32
        assert not big.requires_grad
        assert not small.requires_grad


@torch.no_grad()
@pytest.mark.parametrize("bfloat16", [False, True])
def test_without_packed_products_plain_ones_do(
    bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On builds of PyTorch without oneDNN."""
    packed = layer(BIG).for_inference(bfloat16)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = layer(BIG).for_inference(bfloat16)
    assert isinstance(plain, InferenceLinear)
    assert not plain.weight.is_mkldnn
    x = torch.randn(4, BIG[1], generator=torch.Generator().manual_seed(1))
    for one, other in (
        (packed.apply(x), plain.apply(x)),
        (packed.apply_leaky_relu(x).float(), plain.apply_leaky_relu(x)),
    ):
        assert torch.allclose(one, other, rtol=2**-6 if bfloat16 else 1e-5, atol=1e-3)


@torch.no_grad()
def test_a_copy_of_a_network_in_evaluation_mode_gives_the_same_outputs() -> None:
    with seeded_init(0):
        net = Mlp([30, 256, 256, 4]).eval()

    def outputs(of: nn.Module) -> Tensor:
        y: Tensor = of(torch.ones(2, 30))
        return y

    assert torch.allclose(outputs(copy.deepcopy(net)), outputs(net), atol=1e-5)
