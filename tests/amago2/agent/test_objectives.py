import math

import pytest
import torch

from amago2.agent import objectives
from amago2.nets.popart import PopArt
from amago2.nets.two_hot import ValueBins

DISCOUNTS = torch.tensor([0.5, 0.9])


def test_one_step_targets_by_hand() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    terminated = torch.tensor([[False, False, True]])
    valid = torch.tensor([[True, True, True]])
    t = objectives.n_step_transitions(rewards, terminated, valid, DISCOUNTS, 1)
    assert t.rows_t.index.tolist() == [0, 1, 2]
    assert t.index_n.tolist() == [1, 2, 3]
    value_n = torch.tensor([[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]])
    expected = [[1 + 5, 1 + 9], [2 + 10, 2 + 18], [3, 3]]  # no value after termination
    assert torch.allclose(objectives.td_target(t, value_n), torch.tensor(expected).float())


def test_padding_gives_no_transition() -> None:
    rewards = torch.ones(2, 3)
    valid = torch.tensor([[True, False, False], [True, True, True]])
    t = objectives.n_step_transitions(rewards, torch.zeros(2, 3).bool(), valid, DISCOUNTS, 1)
    assert t.rows_t.index.tolist() == [0, 4, 5, 6]  # rows of 4 tokens
    assert t.index_n.tolist() == [1, 5, 6, 7]


def test_two_step_targets_by_hand_stop_at_termination_and_at_the_end() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    terminated = torch.tensor([[False, True, False, False]])
    t = objectives.n_step_transitions(
        rewards, terminated, torch.ones(1, 4).bool(), torch.tensor([0.5]), 2
    )
    assert t.returns.squeeze(1).tolist() == [1 + 0.5 * 2, 2, 4 + 0.5 * 8, 8]
    assert t.discounts.squeeze(1).tolist() == [0, 0, 0.25, 0.5]
    assert t.index_n.tolist() == [2, 2, 4, 4]


def test_the_subset_is_drawn_with_replacement_from_the_members() -> None:
    drawn = objectives.sample_members(4, 2, torch.zeros(5000, 1), torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 5000, 1)
    assert drawn.unique().tolist() == [0, 1, 2, 3]
    twice = (drawn[0] == drawn[1]).float().mean().item()
    assert twice == pytest.approx(0.25, abs=0.03)


def test_the_subset_is_drawn_from_the_generator_given() -> None:
    """And from no global one, so that a continued run draws what it would have drawn."""
    like, rng = torch.zeros(100, 1), torch.Generator().manual_seed(0)
    before = torch.random.get_rng_state()
    first, next_ = (objectives.sample_members(4, 2, like, rng) for _ in range(2))
    again = objectives.sample_members(4, 2, like, torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_critic_losses_by_hand() -> None:
    bins = ValueBins((0.0, 2.0), 3, symlog=False)
    probabilities = torch.tensor([[[[0.2, 0.5, 0.3]]]])  # (C, M, G, N)
    loss = objectives.two_hot_loss(bins, probabilities.log(), torch.tensor([[0.25]]))
    expected = -(0.75 * torch.tensor(0.2).log() + 0.25 * torch.tensor(0.5).log())
    assert torch.allclose(loss, expected[None, None, None])
    popart = PopArt(1, 0.1)  # mean 0, std 10
    loss = objectives.popart_loss(popart, torch.tensor([[[0.5]], [[0.0]]]), torch.tensor([[20.0]]))
    assert loss.flatten().tolist() == pytest.approx([(0.5 - 2) ** 2, 4])


def test_filters_by_hand() -> None:
    advantage = torch.tensor([-1.0, 0.0, 1e-6, 2.0])
    assert objectives.advantage_filter(advantage, "binary", 0.0).tolist() == [0, 0, 1, 1]
    assert objectives.advantage_filter(advantage, "none", 0.0).tolist() == [1, 1, 1, 1]
    weights = objectives.advantage_filter(advantage, "exponential", 0.0)
    assert torch.allclose(weights, (advantage / advantage.std()).exp())


def test_exponential_weights_are_bounded_and_know_no_scale() -> None:
    advantage = torch.cat([torch.tensor([5.0, 1.0]), torch.zeros(98)])
    sigma = (26 / 99 - 100 * 0.06**2 / 99) ** 0.5  # of squares summing to 26, around 0.06
    assert sigma == pytest.approx(0.509, abs=1e-3)
    weights = objectives.advantage_filter(advantage, "exponential", 0.0)
    assert weights[0].item() == 20.0  # exp(9.8) is 18,000
    assert weights[1].item() == pytest.approx(math.exp(1 / sigma), rel=1e-4)
    assert weights[2].item() == 1
    scaled = objectives.advantage_filter(1000 * advantage, "exponential", 0.0)
    assert torch.allclose(scaled, weights)
    assert objectives.advantage_filter(torch.zeros(3), "exponential", 0.0).tolist() == [1, 1, 1]


def test_actor_losses_by_hand() -> None:
    log_prob = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = objectives.filtered_imitation_loss(log_prob, weight)
    assert loss.tolist() == [[1.0, 0.0]]
    loss.mean().backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [[-0.5, 0.0]]
    assert weight.grad is None  # the filter is a constant
    assert objectives.policy_gradient_loss(torch.tensor([[1.0, 3.0]])).tolist() == [[-1, -3]]
