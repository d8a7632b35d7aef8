"""The agent: networks and objectives put together. Four variants, two choices, one class."""

import copy
from collections.abc import Mapping

import gymnasium as gym
import torch
from torch import Tensor, nn

from amago2.agent import objectives
from amago2.agent.batch import Batch
from amago2.config.schema import AmagoConfig
from amago2.distributed import Alone
from amago2.env.spaces import ActionSpec
from amago2.nets import action_values
from amago2.nets.action_values import values, values_where
from amago2.nets.critic import Critic, ScalarCritic, TwoHotCritic
from amago2.nets.distributions import Categorical, Policy
from amago2.nets.heads import Actor
from amago2.nets.moments import Moments
from amago2.nets.popart import PopArt
from amago2.nets.precision import Fixing
from amago2.nets.timestep_encoders import make_encoder
from amago2.nets.trajectory_encoders import Memory, make_trunk
from amago2.nets.value_bins import ValueBins

Metrics = dict[str, Tensor]


class Agent(nn.Module):
    """Encoder, Transformer, an actor and critics per discount, and slow copies of the heads."""

    discounts: Tensor  # (G,)

    def __init__(
        self, config: AmagoConfig, observations: Mapping[str, gym.spaces.Box], actions: ActionSpec
    ) -> None:
        """Build for the given spaces. Raises `ValueError` for pairs that are not defined."""
        super().__init__()
        a = self.config = config.agent
        self.actions = actions
        self.ranks = Alone()
        self.half_products = config.learner.precision == "bfloat16"
        if a.actor == "policy_gradient" and self.actions.kind == "multibinary":
            raise ValueError(
                "agent.actor is policy_gradient, which is not defined for MultiBinary actions; "
                "use filtered_imitation"
            )
        self.encoder = make_encoder(
            config.timestep_encoder,
            observations,
            actions,
            symlog_reward=a.reward_input == "symlog",
        )
        self.trunk = make_trunk(self.encoder.output, config.trajectory_encoder)
        self.register_buffer("discounts", torch.tensor(a.discounts), persistent=False)
        self.popart = PopArt(len(a.discounts), a.popart_rate)
        self.actor = Actor(self.trunk.output, a.head_hidden_sizes, len(a.discounts), self.actions)
        self.critic = self._make_critic()
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = self._make_critic().requires_grad_(False)
        self.target_critic.load_state_dict(self.critic.state_dict())
        for module in self.modules():
            if isinstance(module, Fixing):
                module.rounded = self.half_products

    def _make_critic(self) -> Critic:
        a, width = self.config, self.trunk.output
        common = (a.num_critics, width, a.head_hidden_sizes, self.discounts, self.actions)
        if a.critic == "popart":
            return ScalarCritic(*common, self.popart)
        return TwoHotCritic(*common, ValueBins(a.value_limit, a.bins, a.symlog))

    # --- acting ---------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.discounts.device

    def initial_memory(self, rows: int) -> Memory:
        """Empty memory of `rows` rollouts."""
        return self.trunk.initial_memory(rows, self.device)

    @torch.inference_mode()
    def act(
        self,
        observation: Mapping[str, Tensor],
        reward: Tensor,
        action: Tensor,
        memory: Memory,
        rng: torch.Generator,
    ) -> Tensor:
        """Sample actions (N, A) after observation[k] (N, ...), reward (N,), action (N, A).

        Advances `memory` in place by one timestep.
        """
        encoded = self.encoder(observation, reward, action)
        states = self.trunk.step(encoded, memory)  # type: ignore[arg-type]  # its own memory
        policy: Policy = self.actor(states, acting=True)
        return policy.sample(rng)

    # --- learning -------------------------------------------------------------------------------

    def share_batches(self, ranks: Alone) -> None:
        """Take statistics over whole batches, of which this process may have a share."""
        self.ranks = ranks
        for module in self.modules():
            if isinstance(module, Moments):
                module.ranks = ranks

    def loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        """Actor loss plus weighted critic loss of a batch, and what is worth logging.

        Both losses train the encoder and the Transformer; the actor's leaves the critics alone.
        """
        with torch.autocast(batch.reward.device.type, torch.bfloat16, enabled=self.half_products):
            return self._loss(batch, rng)

    def _loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        states = self._states(batch, rng).flatten(0, 1)  # (B * L, D)
        transitions = objectives.n_step_transitions(
            batch.reward[:, 1:] * self.config.reward_multiplier,
            batch.terminated[:, 1:],
            batch.valid[:, 1:],
            self.discounts,
            self.config.n_step,
        )
        state_t = states.index_select(0, transitions.index_t)  # (M, D)
        taken = batch.action[:, 1:][batch.valid[:, 1:]][:, None, None]  # (M, 1, 1, A)
        target = self._td_target(states.detach(), transitions, rng)
        self.popart.update(target)

        base = self.critic.of_states(state_t)
        outputs = self.critic.outputs(base, taken).squeeze(3)  # (C, M, G) or (C, M, G, N)
        if isinstance(self.critic, TwoHotCritic):
            critic_loss = objectives.two_hot_loss(self.critic.bins, outputs, target)
        else:
            critic_loss = objectives.popart_loss(self.popart, outputs, target)
        with torch.no_grad():
            q = self.critic.values(outputs.detach().unsqueeze(3)).squeeze(3)  # (C, M, G)
        policy = self.actor(state_t)
        actor_loss, metrics = self._actor_loss(policy, base.detach(), taken.squeeze(2), q, rng)
        metrics |= self._value_metrics(outputs, q.mean(0), target)
        metrics |= {"loss_actor": actor_loss.detach(), "loss_critic": critic_loss.detach()}
        return actor_loss + self.config.critic_loss_weight * critic_loss, metrics

    def _states(self, batch: Batch, rng: torch.Generator) -> Tensor:
        encoded = self.encoder(batch.observation, batch.reward, batch.action, batch.valid, rng)
        return self.trunk(encoded, batch.time, rng)

    @torch.no_grad()
    def _td_target(
        self, states: Tensor, transitions: objectives.Transitions, rng: torch.Generator
    ) -> Tensor:
        """TD targets (M, G) by the target networks; a pessimistic pair if the actor ascends Q."""
        state_n = states.index_select(0, transitions.index_n)
        policy = self.target_actor(state_n)
        sizes = self.config.num_critics, self.config.num_target_critics
        members = objectives.subset(*sizes, transitions.returns, rng)
        base = self.target_critic.of_states(state_n)
        each = self._policy_value(self.target_critic, base, policy, 1, rng, members=members)
        drawn = each.gather(0, members)
        ascends = self.config.actor == "policy_gradient"
        value_n = drawn.amin(0) if ascends else drawn.mean(0)
        return objectives.td_target(transitions, value_n)

    def _policy_value(
        self,
        critic: Critic,
        base: Tensor,
        policy: Policy,
        samples: int,
        rng: torch.Generator,
        *,
        differentiable: bool = False,
        members: Tensor | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """E_a~pi Q(s, a) by each member: (C, M, G) for a policy (M, G).

        `base` is what the critic makes of the M states. Exact for discrete actions where the
        critic allows it or `expectation` asks for it, else the mean over samples. Gradients never
        reach the critic's parameters, only the policy. `members` (S, M, G) says whose values are
        needed; the others may be anything. `known` are actions (M, 1, A) and their values
        (C, M, G), which need not be computed again. A discrete action drawn twice is valued once.
        """
        if isinstance(critic, ScalarCritic):
            if isinstance(policy, Categorical):
                actions = policy.probabilities.unsqueeze(-2)  # (M, G, 1, A)
            else:
                actions = self._draws(policy, samples, rng, differentiable)
            return values(critic, base, actions).mean(-1)
        if isinstance(policy, Categorical) and self.config.expectation == "exact":
            share = policy.probabilities  # (M, G, A)
        else:
            actions = self._draws(policy, samples, rng, differentiable)
            if differentiable or action_values.at_once(base):
                return values(critic, base, actions).mean(-1)
            discrete = isinstance(policy, Categorical)
            share = actions.mean(-2) if discrete else torch.ones_like(actions[..., 0]) / samples
        if isinstance(policy, Categorical):
            actions = torch.eye(self.actions.size, device=base.device)[None, None]
        each = self._values_of(critic, base, actions, share > 0, members, known)
        return (each * share).sum(-1)

    @staticmethod
    def _draws(policy: Policy, samples: int, rng: torch.Generator, differentiable: bool) -> Tensor:
        """Actions (M, G, K, A) of a policy (M, G)."""
        draw = policy.rsample if differentiable else policy.sample
        return torch.stack([draw(rng) for _ in range(samples)], dim=-2)

    @torch.no_grad()
    def _values_of(
        self,
        critic: TwoHotCritic,
        base: Tensor,
        actions: Tensor,
        wanted: Tensor,
        members: Tensor | None,
        known: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Values (C, M, G, K) of `actions` (M or 1, G or 1, K, A) where `wanted` (M, G, K).

        Elsewhere, and for members that nobody asks for, they may be anything: only what is needed
        is computed, and a discrete action whose value is known not again. See `_policy_value`.
        """
        if action_values.at_once(base):
            return values(critic, base, actions)
        wanted = wanted.expand(self.config.num_critics, *wanted.shape)
        if members is not None:
            asked = torch.zeros(wanted.shape[:-1], dtype=torch.bool, device=base.device)
            wanted = wanted & asked.scatter_(0, members, True).unsqueeze(-1)
        if known is None or self.actions.kind != "discrete":
            return values_where(critic, base, actions, wanted)
        taken, q = known
        rest = values_where(critic, base, actions, wanted & (taken == 0))
        return rest + taken * q.unsqueeze(-1)

    def _actor_loss(
        self, policy: Policy, base: Tensor, taken: Tensor, q: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """Loss of policy (M, G); taken (M, 1, A) have the values q (C, M, G).

        `base` is what the critic makes of the M states.
        """
        if self.config.actor == "policy_gradient":
            each = self._policy_value(
                self.critic, base, policy, 1, rng, differentiable=True, known=(taken, q)
            )
            normalised = self.popart.normalise(each.amin(0))
            advantage = (q - each.detach()).mean(0).sign()
            loss = objectives.policy_gradient_loss(normalised)
        else:
            with torch.no_grad():
                each = self._policy_value(
                    self.critic, base, policy, self.config.value_samples, rng, known=(taken, q)
                )
                advantage = (q - each).mean(0)  # exactly 0 if all samples are the action taken
                weight = objectives.advantage_filter(
                    advantage, self.config.filter, self.config.filter_threshold, self.ranks.std
                )
            loss = objectives.filtered_imitation_loss(policy.log_prob(taken), weight)
        positive = (advantage > 0).float()
        return loss, {
            "filter_share": positive.mean(),
            "filter_share_acting": positive[:, -1].mean(),
        }

    @torch.no_grad()
    def _value_metrics(self, outputs: Tensor, q: Tensor, target: Tensor) -> Metrics:
        """Of the acting discount: mean value, TD targets, and the most likely bins' histogram."""
        acting = target[:, -1]
        metrics = {
            "q_mean": q[:, -1].mean(),
            "td_target_mean": acting.mean(),
            "td_target_std": self.ranks.std(acting, correction=0),
        }
        if isinstance(self.critic, TwoHotCritic):
            top = outputs[:, :, -1].argmax(-1).flatten()  # (C * M,)
            bins = torch.arange(outputs.shape[-1], device=top.device)
            metrics["bin_histogram"] = (top.unsqueeze(1) == bins).float().mean(0)
        return metrics

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the target heads a step of `target_rate` towards the online ones."""
        for slow, fast in ((self.target_actor, self.actor), (self.target_critic, self.critic)):
            torch._foreach_lerp_(
                list(slow.parameters()), list(fast.parameters()), self.config.target_rate
            )
