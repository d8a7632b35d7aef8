"""Selections of rows: values and gradients are those of plain indexing."""

import pytest
import torch

from amago2.nets.rows import Rows

MASKS = {
    "some": [[True, False, True], [False, True, True]],
    "all": [[True, True, True], [True, True, True]],
    "none": [[False, False, False], [False, False, False]],
}


@pytest.mark.parametrize("name", MASKS)
def test_rows_are_those_of_a_mask(name: str) -> None:
    mask = torch.tensor(MASKS[name])
    rows, flat = Rows.where(mask), mask.flatten()
    assert rows.all == (name == "all")
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    taken = rows.take(x)
    assert torch.equal(taken, x[flat])
    upstream = torch.arange(taken.numel(), dtype=torch.float32).view(taken.shape)
    (fast,), (plain,) = (torch.autograd.grad(y, x, upstream) for y in (taken, x[flat]))
    assert torch.equal(fast, plain)


@pytest.mark.parametrize("name", MASKS)
def test_rows_go_back_to_their_places(name: str) -> None:
    mask = torch.tensor(MASKS[name])
    rows, flat = Rows.where(mask), mask.flatten()
    x = torch.randn(int(flat.sum()), 4, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    expected = torch.zeros(6, 4)
    expected[flat] = x.detach()
    put = rows.put(x)
    assert torch.equal(put, expected)
    upstream = torch.arange(24, dtype=torch.float32).view(6, 4)
    (gradient,) = torch.autograd.grad(put, x, upstream)
    assert torch.equal(gradient, upstream[flat])
