import pytest
import torch
from torch import Tensor

from amago2.env.spaces import ActionSpec
from amago2.nets import action_values
from amago2.nets.critics import TwoHotCritic
from tests.amago2.agent.test_agent import (
    CONTINUOUS,
    DISCRETE,
    agent,
    batch,
    gradients,
    rng,
)


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@torch.no_grad()
def test_masked_values_are_the_values_where_the_mask_is_true(spec: ActionSpec) -> None:
    a = agent(spec, critic="two_hot")
    assert isinstance(a.critic, TwoHotCritic)
    embedded = a.critic.embed_states(torch.randn(40, 16, generator=rng()))
    actions = torch.eye(3)[None, None]
    if spec.kind == "continuous":
        actions = torch.randn(40, 2, 3, spec.size, generator=rng())
    every = action_values.compute(a.critic, embedded, actions).expand(4, 40, 2, 3)
    mask = torch.rand(every.shape, generator=rng()) < torch.tensor([0.0, 0.2, 0.7, 1.0]).view(
        4, 1, 1, 1
    )
    some = action_values.compute_masked(a.critic, embedded, actions, mask)
    assert torch.allclose(some, every * mask, rtol=1e-5, atol=1e-6)
    assert not some[0].any()


@torch.no_grad()
def test_each_distinct_action_is_valued_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over samples is that over all of them, with those of members that are asked for."""
    a = agent(critic="two_hot")
    embedded = a.critic.embed_states(torch.randn(40, 16, generator=rng()))
    policy = a.actor(torch.randn(40, 16, generator=rng()))
    members = torch.randint(4, (2, 40, 2), generator=rng())
    count = 0
    compute_masked = action_values.compute_masked

    def counting(critic: TwoHotCritic, embedded: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
        nonlocal count
        count = int(mask.sum())
        return compute_masked(critic, embedded, actions, mask)

    monkeypatch.setattr(action_values, "compute_masked", counting)
    found = a._policy_value(a.critic, embedded, policy, 5, rng(), members=members)
    monkeypatch.setattr(action_values, "in_one_pass", lambda _: True)
    plain = a._policy_value(a.critic, embedded, policy, 5, rng())
    assert torch.allclose(found.gather(0, members), plain.gather(0, members), rtol=1e-4)
    assert 0 < count < 40 * 2 * 2 * 3  # at most three actions and two members, of five and four


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_values_in_chunks_are_the_values(
    spec: ActionSpec, critic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = gradients(agent(spec, critic=critic), batch(spec, size=20))
    for size in ("STATES_PER_CHUNK", "PAIRS_PER_CHUNK", "PAD_MULTIPLE"):
        monkeypatch.setattr(action_values, size, 7)
    other = gradients(agent(spec, critic=critic), batch(spec, size=20))
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name, gradient in one[1].items():
        assert torch.allclose(gradient, other[1][name], rtol=1e-5, atol=1e-6), name
