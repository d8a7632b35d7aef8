import copy
import dataclasses
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from amago2.agent.agent import Agent, make_agent
from amago2.agent.batch import Batch
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError
from amago2.nets import action_values
from amago2.nets.distributions import Categorical
from tests.amago2.toy import small

BOXES = {"o": gym.spaces.Box(-9, 9, (3,), np.float32)}
DISCRETE = ActionSpec("discrete", 3)
CONTINUOUS = ActionSpec("continuous", 2, -np.ones(2), np.ones(2))


def agent(spec: ActionSpec = DISCRETE, dropout: float = 0.0, **settings: Any) -> Agent:
    return make_agent(
        small(agent=settings, trajectory_encoder={"dropout": dropout}), BOXES, spec
    ).train()


def batch(spec: ActionSpec, seed: int = 0, size: int = 6, length: int = 5) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    shape = (size, length + 1)
    if spec.kind == "discrete":
        action = F.one_hot(torch.randint(spec.size, shape, generator=rng), spec.size).float()
    else:
        action = torch.rand(*shape, spec.size, generator=rng) * 2 - 1
    return Batch(
        {"o": torch.randn(*shape, 3, generator=rng)},
        torch.randn(shape, generator=rng),
        action,
        torch.rand(shape, generator=rng) < 0.1,
        torch.arange(length + 1).expand(shape),
        torch.ones(shape, dtype=torch.bool),
    )


def test_a_prepared_batch_moves_whole() -> None:
    data = batch(DISCRETE)
    data.valid[0, 4:] = False
    prepared = agent().prepare(data)
    assert len(prepared.tokens.index) == 6 * 6 - 2
    assert len(prepared.action_t) == len(prepared.transitions.returns) == 6 * 5 - 2
    assert torch.equal(prepared.action_t[:4], torch.cat([data.action[0, 1:4], data.action[1, 1:2]]))
    away = prepared.to(torch.device("meta"))
    parts = [away.observation, vars(away.tokens), vars(away.transitions.rows_t)]
    parts += [vars(away), vars(away.transitions)]
    tensors = [x for part in parts for x in part.values() if isinstance(x, torch.Tensor)]
    assert {x.device.type for x in tensors} == {"meta"}
    assert len(tensors) == 1 + 2 + 2 + 4 + 3


def _last_layer(a: Agent) -> torch.nn.Linear:
    return cast(torch.nn.Linear, a.actor.net[-1])


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def gradients(a: Agent, of: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    loss, _ = a.loss(of, rng())
    a.zero_grad()
    loss.backward()
    return float(loss.detach()), {
        name: p.grad.clone() for name, p in a.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_every_variant_learns_every_part(actor: str, critic: str, spec: ActionSpec) -> None:
    a = agent(spec, actor=actor, critic=critic)
    loss, grads = gradients(a, batch(spec))
    assert np.isfinite(loss)
    for part in ("timestep_encoder", "trajectory_encoder", "actor", "critic"):
        names = [n for n, p in a.named_parameters() if n.startswith(part) and p.requires_grad]
        assert names
        for name in names:
            assert name in grads, name
        assert any(grads[name].abs().sum() > 0 for name in names), part
    assert not any(name.startswith("target_") for name in grads)


def test_padding_changes_neither_loss_nor_gradients(actor: str, critic: str) -> None:
    """The same six transitions, alone and with padding of absurd values behind them."""
    for spec in (DISCRETE, CONTINUOUS):
        plain = batch(spec)

        def padded(x: torch.Tensor, fill: float) -> torch.Tensor:
            tail = torch.full((x.shape[0], 3, *x.shape[2:]), fill)
            return torch.cat([x, tail.to(x.dtype)], 1)

        longer = Batch(
            {"o": padded(plain.observation["o"], 1e6)},
            padded(plain.reward, 1e6),
            padded(plain.action, 1.0),
            padded(plain.terminated, 1),
            padded(plain.time, 0),
            padded(plain.valid, 0),
        )
        one = gradients(agent(spec, actor=actor, critic=critic), plain)
        other = gradients(agent(spec, actor=actor, critic=critic), longer)
        assert one[0] == pytest.approx(other[0], rel=1e-5)
        for name, gradient in one[1].items():
            assert torch.allclose(gradient, other[1][name], rtol=1e-4, atol=1e-5), name


@given(st.integers(0, 10**6), st.sampled_from(["two_hot", "popart"]))
@settings(max_examples=10)
def test_the_actor_loss_leaves_the_critics_alone(seed: int, critic: str) -> None:
    for spec in (DISCRETE, CONTINUOUS):
        a = agent(spec, actor="policy_gradient", critic=critic)
        a.config = a.config.model_copy(update={"critic_loss_weight": 0.0})
        _, grads = gradients(a, batch(spec, seed))
        assert all(grads[name].abs().max() == 0 for name in grads if name.startswith("critic"))
        assert any(
            grads[name].abs().max() > 0 for name in grads if name.startswith("trajectory_encoder")
        )


def test_the_policy_gradient_reaches_the_encoders_through_the_policy_only() -> None:
    """The state that Q reads is a constant: a policy that ignores its state moves no encoder."""
    a = agent(actor="policy_gradient", critic="popart")
    a.config = a.config.model_copy(update={"critic_loss_weight": 0.0})
    with torch.no_grad():
        _last_layer(a).weight.zero_()
    _, grads = gradients(a, batch(DISCRETE))
    assert all(
        grads[name].abs().max() == 0 for name in grads if name.startswith("trajectory_encoder")
    )
    assert grads["actor.net.4.bias"].abs().max() > 0


@pytest.mark.parametrize("expectation", ["sampled", "exact"])
def test_the_policy_gradient_raises_q(critic: str, expectation: str) -> None:
    """A step along the actor's gradient raises E_pi Q, critics held fixed."""
    a = agent(actor="policy_gradient", critic=critic, expectation=expectation)
    states = torch.randn(200, 16, generator=rng())

    def value() -> torch.Tensor:
        policy = a.actor(states)
        every = torch.eye(3)[None, None]
        embedded = a.critic.embed_states(states)
        q = a.critic.values(a.critic.outputs(embedded, every, frozen=True)).amin(0)
        return (q * policy.probabilities).sum(-1).mean()

    before = value().item()
    optimizer = torch.optim.Adam(a.actor.parameters(), 1e-2)
    for step in range(30):
        generator = torch.Generator().manual_seed(step)
        embedded, policy = a.critic.embed_states(states).detach(), a.actor(states)
        each = a._policy_value(a.critic, embedded, policy, 1, generator, differentiable=True)
        loss = -a.popart.normalise(each.amin(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert value().item() > before + 1e-3 * abs(before)


def test_imitation_follows_the_filter() -> None:
    """Only actions of positive advantage are imitated: their probability rises."""
    a = agent(actor="filtered_imitation", critic="two_hot")
    states = torch.randn(300, 16, generator=rng())
    with torch.no_grad():
        _last_layer(a).bias.view(2, 3)[:, 0] = -30.0  # it never draws the action taken
    taken = torch.tensor([1.0, 0.0, 0.0]).expand(300, 1, 3)
    q = torch.where(torch.arange(300) % 2 == 0, 1e6, -1e6)[:, None].expand(4, 300, 2)
    policy, embedded = a.actor(states), a.critic.embed_states(states).detach()
    loss, metrics = a._actor_loss(policy, embedded, taken, q, rng())
    assert metrics["filter_share"].item() == 0.5
    expected = -(policy.log_prob(taken)[::2].sum() / (300 * 2))
    assert torch.allclose(loss.mean(), expected)


def test_ind_losses_carry_no_scale_of_returns() -> None:
    """Rewards a thousand times larger leave the size of Ind. gradients; those of Q grow."""
    plain = batch(DISCRETE)
    larger = dataclasses.replace(plain, reward=plain.reward * 1000)

    def norms(**settings: Any) -> float:
        sizes = []
        for data in (plain, larger):
            a = agent(**settings, reward_input="symlog", reward_multiplier=10)
            with torch.no_grad():
                a.popart.square.fill_(1.0)  # statistics that know neither scale
                a.popart.update = lambda targets: None  # type: ignore[method-assign]
            _, grads = gradients(a, data)
            sizes.append(torch.cat([g.flatten() for g in grads.values()]).norm().item())
        return sizes[1] / sizes[0]

    assert norms(actor="filtered_imitation", critic="two_hot") < 5
    assert norms(actor="policy_gradient", critic="popart") > 100


@pytest.mark.parametrize("critic", ["two_hot", "popart"])
def test_targets_come_from_the_target_networks_and_move_slowly(critic: str) -> None:
    a = agent(critic=critic, target_rate=0.25)

    def target() -> torch.Tensor:
        return copy.deepcopy(a).loss(batch(DISCRETE), rng())[1]["td_target_mean"]

    def shift(part: torch.nn.Module) -> None:
        with torch.no_grad():
            for p in part.parameters():
                p.add_(torch.randn(p.shape, generator=rng()))

    at_first = target()
    shift(a.critic)
    shift(a.actor)
    assert torch.equal(target(), at_first)
    pairs = ((a.target_critic, a.critic), (a.target_actor, a.actor))
    old = [[p.clone() for p in slow.parameters()] for slow, _ in pairs]
    a.update_targets()
    for (slow, fast), before in zip(pairs, old, strict=True):
        for p, online, was in zip(slow.parameters(), fast.parameters(), before, strict=True):
            assert torch.allclose(p, was + 0.25 * (online - was), atol=1e-6)
    assert not torch.equal(target(), at_first)


def test_only_with_both_losses_dependent_is_the_target_pessimistic(critic: str) -> None:
    ascending = agent(actor="policy_gradient", critic=critic)
    imitating = agent(actor="filtered_imitation", critic=critic)
    _, one = ascending.loss(batch(DISCRETE), rng())
    _, other = imitating.loss(batch(DISCRETE), rng())
    assert (one["td_target_mean"] < other["td_target_mean"]) == (critic == "popart")


def test_exact_and_sampled_values_have_the_same_mean() -> None:
    a = agent(critic="two_hot")
    states = torch.randn(4, 16, generator=rng())
    policy = a.actor(states)
    embedded = a.critic.embed_states(states)
    sampled = a._policy_value(a.critic, embedded, policy, 8000, rng())
    a.config = a.config.model_copy(update={"expectation": "exact"})
    exact = a._policy_value(a.critic, embedded, policy, 1, rng())
    assert torch.allclose(sampled, exact, rtol=0.03, atol=0.02)


def test_the_exact_expectation_is_the_sum_over_all_actions() -> None:
    """Its gradients are too; also where values are known, or of members that nobody asks for."""
    a = agent(critic="two_hot", expectation="exact")
    states = torch.randn(40, 16, generator=rng())
    embedded = a.critic.embed_states(states).detach()
    every = action_values.compute(a.critic, embedded, torch.eye(3)[None, None]).detach()
    taken = torch.eye(3)[torch.randint(3, (40,), generator=rng())][:, None]
    q = (every * taken).sum(-1)
    members = torch.randint(4, (2, 40, 2), generator=rng())
    outputs = torch.randn(40, 2, 3, generator=rng()).requires_grad_()
    policy = Categorical.from_outputs(outputs, a.config.probability_limits)
    plain = (every * policy.probabilities).sum(-1)
    for asked in (None, members):
        found = a._policy_value(
            a.critic,
            embedded,
            policy,
            1,
            rng(),
            differentiable=True,
            members=asked,
            known=(taken, q),
        )
        one, other = ((x if asked is None else x.gather(0, asked)).sum() for x in (found, plain))
        assert torch.allclose(one, other, rtol=1e-5)
        first, second = (
            torch.autograd.grad(x, outputs, retain_graph=True)[0] for x in (one, other)
        )
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-5 * float(every.abs().max()))


@torch.no_grad()
def test_the_last_discount_acts() -> None:
    a = agent()
    states = torch.randn(5, 16, generator=rng())
    acting = a.actor(states, acting=True).probabilities
    assert torch.equal(acting, a.actor(states).probabilities[:, -1])


def test_an_action_that_the_policy_always_takes_has_no_advantage() -> None:
    """Exactly none, or rounding would decide which half of such actions is imitated."""
    for precision in (None, "bfloat16"):
        policy = {"filter_threshold": 0.0, "probability_limits": (1e-6, 1.0)}
        config = small(agent=policy, learner={"precision": precision})
        a = make_agent(config, BOXES, DISCRETE).train()
        with torch.no_grad():
            _last_layer(a).bias.view(2, 3)[:, 1] = 30.0
        data = batch(DISCRETE, size=50)
        data.action[...] = torch.tensor([0.0, 1.0, 0.0])
        _, metrics = a.loss(data, rng())
        assert metrics["filter_share"] == 0


def test_bfloat16_products_give_nearly_the_same_loss_and_gradients(actor: str, critic: str) -> None:
    """Stated tolerance: 2 % of the loss, and gradients that point the same way (cosine > .99)."""
    found = []
    for precision in (None, "bfloat16"):
        config = small(
            agent={"actor": actor, "critic": critic, "filter": "none"},
            learner={"precision": precision},
            trajectory_encoder={"dropout": 0},
        )
        found.append(gradients(make_agent(config, BOXES, CONTINUOUS), batch(CONTINUOUS, size=40)))
    (one, exact), (two, rounded) = found
    assert one == pytest.approx(two, rel=0.02)
    assert one != two
    a, b = (torch.cat([g.flatten() for g in grads.values()]) for grads in (exact, rounded))
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.99
    assert all(g.dtype == torch.float32 for g in rounded.values())


@torch.inference_mode()
def test_acting_with_packed_weights_differs_by_rounding_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Policies of some steps: the plain ones to 1e-5, in bfloat16 to .02; small weights as such."""

    def policies(precision: str | None, large: int) -> torch.Tensor:
        monkeypatch.setattr("amago2.nets.inference_weights.MIN_PACKED_SIZE", large)
        a = make_agent(small(learner={"precision": precision}), BOXES, DISCRETE).eval()
        memory, data = a.initial_memory(6), batch(DISCRETE, length=8)
        found = []
        for t in range(9):
            observation = {"o": data.observation["o"][:, t]}
            encoded = a.timestep_encoder(observation, data.reward[:, t], data.action[:, t])
            states = a.trajectory_encoder.step(encoded, memory)  # type: ignore[arg-type]  # its own memory
            found.append(a.actor(states).probabilities)
        return torch.stack(found)

    plain = policies(None, 10**9)
    packed, rounded = policies(None, 0), policies("bfloat16", 0)
    assert torch.allclose(packed, plain, atol=1e-5)
    assert torch.allclose(rounded, plain, atol=0.02)
    assert not torch.allclose(rounded, plain, atol=1e-5)
    assert torch.equal(policies("bfloat16", 10**9), plain)


def test_critic_at_actions_equals_the_plain_product() -> None:
    """The split first layer is the product with (state, discount feature, action) joined."""
    net = agent(CONTINUOUS, critic="two_hot").critic.net
    states, actions = torch.randn(5, 16, generator=rng()), torch.rand(5, 2, 3, 2, generator=rng())
    split = net.outputs(net.embed_states(states), actions)  # (C, M, G, K, N)
    assert net.features is not None
    joined = torch.cat(
        [
            states[:, None, None].expand(5, 2, 3, 16),
            net.features.view(1, 2, 1, 1).expand(5, 2, 3, 1),
            actions,
        ],
        -1,
    )
    for member in range(4):
        x = joined
        for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            x = torch.nn.functional.leaky_relu(x) if layer else x
            x = x @ weight[member] + bias[member]
        assert torch.allclose(split[member], x, atol=1e-5)


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_critics_see_continuous_actions_short_of_the_border(spec: ActionSpec, critic: str) -> None:
    """So that no policy gradient pushes them to it; one-hot actions are what they are."""
    a = agent(spec, critic=critic)
    embedded = a.critic.embed_states(torch.randn(5, 16, generator=rng())).detach()
    actions = torch.ones(5, 2, 1, spec.size, requires_grad=True)
    values = a.critic.outputs(embedded, actions, frozen=True)
    (gradient,) = torch.autograd.grad(values.square().sum(), actions)
    assert bool(gradient.any()) == (spec.kind == "discrete")
    inside = a.critic.outputs(embedded, torch.full_like(actions, 0.999), frozen=True)
    assert torch.equal(values, inside) == (spec.kind == "continuous")


def test_a_lower_limit_that_all_actions_cannot_have_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"begin at 0.4, and there are 3 actions; begin below 0.3"
    ):
        agent(DISCRETE, probability_limits=(0.4, 0.9))


def test_multibinary_has_no_policy_gradient() -> None:
    with pytest.raises(ValueError, match="filtered_imitation"):
        agent(ActionSpec("multibinary", 4), actor="policy_gradient")
