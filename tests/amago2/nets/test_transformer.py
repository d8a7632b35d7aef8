from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from amago2.config.schema import FeedForwardConfig, GruConfig, TransformerConfig
from amago2.nets.attention import (
    attention_in_blocks,
    frequencies,
    positions,
)
from amago2.nets.dropout import dropout
from amago2.nets.sigma_linear import SigmaLinear, training_weights
from amago2.nets.trajectory_encoders import make_trajectory_encoder
from amago2.nets.transformer import Transformer
from amago2.seeding import seeded_init


def make(context: int = 12) -> Transformer:
    config = TransformerConfig(
        context_length=context, width=16, layers=2, heads=4, feedforward_size=32, dropout=0.1
    )
    with seeded_init(0):
        return Transformer(6, config).eval()


ENCODERS: dict[str, TransformerConfig | GruConfig | FeedForwardConfig] = {
    "transformer": TransformerConfig(
        context_length=12, width=16, layers=2, heads=4, feedforward_size=32, dropout=0.1
    ),
    "gru": GruConfig(kind="gru", context_length=12, width=16),
    "ff": FeedForwardConfig(kind="feed_forward", context_length=12, width=16, feedforward_size=32),
}


@torch.no_grad()
@given(
    st.sampled_from(list(ENCODERS)),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(0, 10**6),
)
@settings(max_examples=25)
def test_steps_equal_the_whole_sequence(kind: str, lengths: list[int], seed: int) -> None:
    """Rows of different ages share a memory: a finished row starts again, the others continue."""
    with seeded_init(0):
        net = make_trajectory_encoder(6, ENCODERS[kind])
    rng = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        if name.endswith("head_scale"):  # ones at first, which would hide one that is left out
            parameter.uniform_(0.5, 2, generator=rng)
    net.eval()
    rows = len(lengths)
    memory = net.initial_memory(rows, torch.device("cpu"))
    history: list[list[torch.Tensor]] = [[] for _ in range(rows)]
    for _ in range(32):  # the cache has room for 28, and moves then
        tokens = torch.randn(rows, 6, generator=rng)
        states = net.step(tokens, memory)  # type: ignore[arg-type]  # its own memory
        for row in range(rows):
            history[row].append(tokens[row])
            sequence = torch.stack(history[row]).unsqueeze(0)
            whole = net(sequence, torch.arange(len(history[row])).unsqueeze(0), None)
            assert torch.allclose(states[row], whole[0, -1], atol=1e-5)
            if len(history[row]) == lengths[row]:
                memory.reset(row)
                history[row] = []


@torch.no_grad()
def test_the_memory_holds_the_last_context_timesteps() -> None:
    """One layer: keys and values depend on their own timestep alone, so a window is exact."""
    config = TransformerConfig(
        context_length=5, width=16, layers=1, heads=2, feedforward_size=32, dropout=0
    )
    net = Transformer(6, config).eval()
    tokens = torch.randn(1, 60, 6, generator=torch.Generator().manual_seed(0))
    memory = net.initial_memory(1, torch.device("cpu"))
    for t in range(60):
        state = net.step(tokens[:, t], memory)
        start = max(0, t - 4)
        window = net(tokens[:, start : t + 1], torch.arange(start, t + 1).unsqueeze(0), None)
        assert torch.allclose(state, window[:, -1], atol=1e-5)


@torch.no_grad()
def test_no_timestep_sees_the_future() -> None:
    net = make()
    tokens = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 5:] += 1
    time = torch.arange(9).expand(2, 9)
    assert torch.equal(net(tokens, time, None)[:, :5], net(changed, time, None)[:, :5])
    assert not torch.allclose(net(tokens, time, None)[:, 5:], net(changed, time, None)[:, 5:])


def test_positions_by_hand() -> None:
    embedded = positions(torch.tensor([[0, 3]]), frequencies(4))
    expected = [[0, 1, 0, 1], [0.14112, -0.98999, 0.029996, 0.99955]]
    assert torch.allclose(embedded, torch.tensor([expected]), atol=1e-4)


def test_sigma_reparametrisation_has_the_gain_as_its_norm() -> None:
    layer = SigmaLinear(8, 6)
    with torch.no_grad():
        layer.weight.mul_(7.0)
        layer.gain.fill_(2.5)
    for _ in range(200):
        (training,) = training_weights([layer])
    norm = torch.linalg.matrix_norm(training.weight, 2)
    assert norm.item() == pytest.approx(2.5, rel=1e-3)
    assert torch.allclose(training.weight, layer.linear().weight, atol=1e-5)


def test_gradients_of_layers_computed_together_are_those_of_the_formula() -> None:
    layers = [SigmaLinear(8, 6), SigmaLinear(5, 6), SigmaLinear(8, 6, bias=False)]
    for layer in layers:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.constant_(layer.gain, 1.7)
    upstream = [torch.randn_like(layer.weight) for layer in layers]
    found = [weights.weight for weights in training_weights(layers)]
    inputs = [x for layer in layers for x in (layer.weight, layer.gain)]
    fast = torch.autograd.grad(found, inputs, upstream)
    # Their vectors have had the power iteration by now; the plain formula follows autograd.
    plain = [layer.linear().weight for layer in layers]
    for one, other in zip(found, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(fast, torch.autograd.grad(plain, inputs, upstream), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_evaluation_follows_weights_that_were_changed_in_between() -> None:
    net, x = make(), torch.ones(1, 3, 6)
    time = torch.arange(3).unsqueeze(0)
    before = net(x, time, None)
    net.train()
    net.blocks[0].qkv.gain.mul_(3)  # type: ignore[union-attr,operator]
    net.blocks[1].ff1.gain.mul_(3)  # type: ignore[union-attr,operator]
    assert not torch.allclose(before, net.eval()(x, time, None))


def test_dropout_repeats_from_its_generator_and_keeps_the_mean() -> None:
    x = torch.ones(400, 100)
    one, two = (dropout(x, 0.25, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.mean().item() == pytest.approx(1, abs=0.01)
    assert one.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert torch.equal(dropout(x, 0.25, None), x)


def test_attention_in_blocks_is_attention() -> None:
    """Also where the last block is shorter; outputs and gradients."""
    found = []
    for attend in (attention_in_blocks, partial(scaled_dot_product_attention, is_causal=True)):
        drawn = torch.randn(3, 5, 150, 8, generator=torch.Generator().manual_seed(0))
        q, k, v = drawn.requires_grad_()
        attended = attend(q, k, v)
        attended.square().sum().backward()
        assert drawn.grad is not None
        found.append((attended, drawn.grad))
    (one, its), (other, others) = found
    assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
    assert torch.allclose(its, others, rtol=1e-5, atol=1e-5)
