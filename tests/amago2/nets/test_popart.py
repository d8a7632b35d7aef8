import torch
from hypothesis import given
from hypothesis import strategies as st

from amago2.nets.popart import PopArt


def test_one_update_by_hand() -> None:
    popart = PopArt(1, rate=0.1)
    assert popart.std.item() == 10.0
    popart.update(torch.tensor([[2.0], [4.0]]))
    rate = 0.1 / (1 - 0.9**2)  # the second count: 0.526...
    mean, square = rate * 3.0, 100 + rate * (10.0 - 100)
    assert torch.allclose(popart.mean, torch.tensor([mean]))
    assert torch.allclose(popart.std, torch.tensor([square - mean**2]).sqrt())


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.integers(0, 2**20))
def test_an_update_preserves_the_values_of_outputs(targets: list[float], seed: int) -> None:
    popart = PopArt(2, rate=5e-4)
    rng = torch.Generator().manual_seed(seed)
    outputs = torch.randn(4, 9, 2, generator=rng)
    for _ in range(3):
        before = popart.values(outputs)
        popart.update(torch.tensor(targets).unsqueeze(1) * torch.tensor([1.0, 0.1]))
        assert torch.allclose(popart.values(outputs), before, rtol=1e-3, atol=1e-2)


def test_normalise_is_in_the_units_of_normalised_outputs() -> None:
    popart = PopArt(3, rate=0.05)
    popart.update(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) * 30 + 5)
    outputs = torch.linspace(-2, 2, 3)
    assert torch.allclose(
        popart.normalise(popart.values(outputs)), popart.normalised_outputs(outputs), atol=1e-5
    )


def test_a_tiny_variance_does_not_become_nan() -> None:
    popart = PopArt(1, rate=0.5)
    for _ in range(100):
        popart.update(torch.full((4, 1), 1e3))
    assert popart.std.isfinite().all()
    assert popart.std.item() >= 1e-4
