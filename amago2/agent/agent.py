"""The agent: networks and objectives put together. Two choices make its four variants."""

import copy
from collections.abc import Mapping

import gymnasium as gym
import torch
from torch import Tensor, nn

from amago2.agent import objectives
from amago2.agent.batch import Batch, PreparedBatch
from amago2.config.schema import AmagoConfig
from amago2.distributed import SingleProcess
from amago2.env.masks import mask_problem
from amago2.env.observations import MASK_KEY
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError
from amago2.nets import action_values
from amago2.nets.actor import Actor
from amago2.nets.captured import CapturedTransformer
from amago2.nets.critics import Critic, PopArtCritic, TwoHotCritic
from amago2.nets.distributions import ActionDistribution, Categorical
from amago2.nets.inference_weights import WithInferenceWeights
from amago2.nets.normalisation import RunningMoments
from amago2.nets.popart import PopArt
from amago2.nets.rows import Rows
from amago2.nets.timestep_encoders import make_timestep_encoder
from amago2.nets.trajectory_encoders import Memory, TrajectoryEncoder, make_trajectory_encoder
from amago2.nets.two_hot import ValueBins
from amago2.seeding import seeded_init

Metrics = dict[str, Tensor]


class Agent(nn.Module):
    """Timestep and trajectory encoder, an actor and critics per discount, and target networks."""

    discounts: Tensor  # (G,)

    def __init__(
        self, config: AmagoConfig, observations: Mapping[str, gym.spaces.Box], actions: ActionSpec
    ) -> None:
        """Build for the given spaces.

        Raises `ValueError` if an encoder or a policy is not defined for them.
        """
        super().__init__()
        a = self.config = config.agent
        self.observations, self.actions = dict(observations), actions
        self.group = SingleProcess()
        self.use_bfloat16 = config.learner.precision == "bfloat16"
        self.uses_popart = a.critic == "popart" or a.actor == "policy_gradient"
        if problem := mask_problem(observations, actions):
            raise ValueError(problem)
        self.context_length = config.trajectory_encoder.context_length
        self.masked = MASK_KEY in observations
        self.greedy = False
        """Whether it takes the likeliest action, instead of drawing one."""
        buttons = any(choice.kind == "multibinary" for choice in actions.choices)
        if a.actor == "policy_gradient" and buttons:
            raise ValueError(
                "agent.actor is policy_gradient, which is not defined for MultiBinary actions; "
                "use filtered_imitation"
            )
        self.timestep_encoder = make_timestep_encoder(
            config.timestep_encoder,
            {key: box for key, box in observations.items() if key != MASK_KEY},
            actions,
            symlog_reward=a.reward_input == "symlog",
        )
        self.trajectory_encoder = make_trajectory_encoder(
            self.timestep_encoder.output, config.trajectory_encoder
        )
        self.register_buffer("discounts", torch.tensor(a.discounts), persistent=False)
        self.popart = PopArt(len(a.discounts), a.popart_rate)
        width = self.trajectory_encoder.output
        self.actor = Actor(
            width, a.head_hidden_sizes, len(a.discounts), self.actions, a.probability_limits
        )
        self.critic = self._make_critic(width)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = self._make_critic(width).requires_grad_(False)
        self.target_critic.load_state_dict(self.critic.state_dict())
        for module in self.modules():
            if isinstance(module, WithInferenceWeights):
                module.bfloat16_inference = self.use_bfloat16

    def _make_critic(self, width: int) -> Critic:
        a = self.config
        common = (a.num_critics, width, a.head_hidden_sizes, self.discounts, self.actions)
        if a.critic == "popart":
            return PopArtCritic(*common, self.popart)
        return TwoHotCritic(*common, ValueBins(a.value_limit, a.bins, a.symlog))

    # --- acting ---------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.discounts.device

    def initial_memory(self, rows: int) -> Memory:
        """Empty memory of `rows` rollouts."""
        return self.trajectory_encoder.initial_memory(rows, self.device)

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
        encoded = self.timestep_encoder(observation, reward, action)
        states = self.trajectory_encoder.step(encoded, memory)  # type: ignore[arg-type]  # its own
        mask = observation[MASK_KEY] if self.masked else None
        policy: ActionDistribution = self.actor(states, acting=True, mask=mask)
        return policy.mode() if self.greedy else policy.sample(rng)

    # --- learning -------------------------------------------------------------------------------

    def set_process_group(self, group: SingleProcess) -> None:
        """Take statistics over whole batches, of which each process of `group` has a share."""
        self.group = group
        for module in self.modules():
            if isinstance(module, RunningMoments):
                module.group = group

    def loss(
        self,
        batch: Batch | PreparedBatch,
        rng: torch.Generator,
        captured: CapturedTransformer | None = None,
    ) -> tuple[Tensor, Metrics]:
        """Actor loss plus weighted critic loss () of a batch, and metrics for the log.

        Both losses train the encoders; the actor's sends no gradient to the critics. `captured` is
        to stand in for the trajectory encoder.
        """
        prepared = self.prepare(batch) if isinstance(batch, Batch) else batch
        with self.autocast():
            actor, critic, metrics = self.loss_terms(prepared, rng, captured)
            actor_loss, critic_loss = actor.mean(), critic.mean()
            metrics |= {"loss_actor": actor_loss.detach(), "loss_critic": critic_loss.detach()}
            return actor_loss + self.config.critic_loss_weight * critic_loss, metrics

    def autocast(self, cache_enabled: bool | None = None) -> torch.autocast:
        """A context in which products have the configured type."""
        half = self.use_bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, half, cache_enabled)

    def prepare(self, batch: Batch) -> PreparedBatch:
        """All that needs no network, computed where the batch is, on the agent's device."""
        valid = batch.valid[:, 1:]
        transitions = objectives.n_step_transitions(
            batch.reward[:, 1:] * self.config.reward_multiplier,
            batch.terminated[:, 1:],
            valid,
            torch.tensor(self.config.discounts, device=valid.device),
            self.config.n_step,
        )
        return PreparedBatch(
            batch.observation,
            batch.reward,
            batch.action,
            batch.time,
            Rows.where(batch.valid),
            batch.action[:, 1:][valid],
            transitions,
        ).to(self.device)

    @torch.no_grad()
    def targets(self, batch: PreparedBatch, rng: torch.Generator) -> Tensor:
        """TD targets (M, G), by the draws that `loss` makes from an equal generator."""
        with self.autocast():
            states = self._states(batch, rng, self.trajectory_encoder)
            return self._td_target(states, self._masks(batch), batch.transitions, rng)

    def _states(
        self,
        batch: PreparedBatch,
        rng: torch.Generator,
        encoder: TrajectoryEncoder | CapturedTransformer,
    ) -> Tensor:
        """States (B * L, D) of a batch."""
        tokens = self.timestep_encoder(
            batch.observation, batch.reward, batch.action, batch.tokens, rng
        )
        return encoder(tokens, batch.time, rng).flatten(0, 1)

    def _masks(self, batch: PreparedBatch) -> Tensor | None:
        """Masks (B * L, A) of the allowed actions."""
        return batch.observation[MASK_KEY].flatten(0, 1) if self.masked else None

    def loss_terms(
        self,
        batch: PreparedBatch,
        rng: torch.Generator,
        captured: CapturedTransformer | None = None,
    ) -> tuple[Tensor, Tensor, Metrics]:
        """What the losses are means of: the actor's (M, G) and the critics' (C, M, G); metrics."""
        states = self._states(batch, rng, captured or self.trajectory_encoder)
        state_t = batch.transitions.rows_t.take(states)  # (M, D)
        action_t = batch.action_t[:, None, None]  # (M, 1, 1, A)
        masks = self._masks(batch)
        target = self._td_target(states.detach(), masks, batch.transitions, rng)
        if self.uses_popart:
            self.popart.update(target)

        embedded = self.critic.embed_states(state_t)
        outputs = self.critic.outputs(embedded, action_t).squeeze(3)  # (C, M, G) or (C, M, G, N)
        if isinstance(self.critic, TwoHotCritic):
            critic_terms = objectives.two_hot_loss(self.critic.bins, outputs, target)
        else:
            critic_terms = objectives.popart_loss(self.popart, outputs, target)
        with torch.no_grad():
            q = self.critic.values(outputs.detach().unsqueeze(3)).squeeze(3)  # (C, M, G)
        mask_t = None if masks is None else batch.transitions.rows_t.take(masks)
        policy = self.actor(state_t, mask=mask_t)
        actor_terms, metrics = self._actor_loss(
            policy, embedded.detach(), action_t.squeeze(2), q, rng
        )
        metrics |= self._value_metrics(outputs, q.mean(0), target)
        return actor_terms, critic_terms, metrics

    @torch.no_grad()
    def _td_target(
        self,
        states: Tensor,
        masks: Tensor | None,
        transitions: objectives.Transitions,
        rng: torch.Generator,
    ) -> Tensor:
        """TD targets (M, G) of the target networks, from states (B * L, D), masks (B * L, A).

        By the mean of a sampled pair of critics or, if the actor ascends the values of regressing
        ones, pessimistic by their minimum. (The published code took the minimum with classifying
        ones, too, but only from 2025 on.)
        """
        state_n = states.index_select(0, transitions.index_n)
        mask_n = None if masks is None else masks.index_select(0, transitions.index_n)
        policy = self.target_actor(state_n, mask=mask_n)
        sizes = self.config.num_critics, self.config.num_target_critics
        members = objectives.sample_members(*sizes, transitions.returns, rng)
        embedded = self.target_critic.embed_states(state_n)
        values = self._policy_value(self.target_critic, embedded, policy, 1, rng, members=members)
        sampled = values.gather(0, members)
        pessimistic = self.config.actor == "policy_gradient" and self.config.critic == "popart"
        value_n = sampled.amin(0) if pessimistic else sampled.mean(0)
        return objectives.td_target(transitions, value_n)

    def _policy_value(
        self,
        critic: Critic,
        embedded: Tensor,
        policy: ActionDistribution,
        samples: int,
        rng: torch.Generator,
        *,
        differentiable: bool = False,
        members: Tensor | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """E_a~pi Q(s, a) by each member of the critic: (C, M, G) for a policy (M, G).

        `embedded` is what the critic's `embed_states` gives for the M states. The expectation is
        exact for discrete actions if the critic allows it or the configured `expectation` asks for
        it. Else it is the mean over samples, and with a regressing critic one sample. Gradients
        reach the policy only, never the critic.

        To save work, `members` (S, M, G) says whose values are needed; the others may be anything.
        `known` gives actions (M, 1, A) and their values (C, M, G), so that they are not computed
        again. A discrete action that is drawn twice is valued once.
        """
        draw = policy.rsample if differentiable else policy.sample
        if isinstance(critic, PopArtCritic):
            if isinstance(policy, Categorical):
                actions = policy.probabilities.unsqueeze(-2)  # (M, G, 1, A)
            else:
                actions = draw(rng, 1)
            return action_values.compute(critic, embedded, actions).mean(-1)
        if isinstance(policy, Categorical) and self.config.expectation == "exact":
            share = policy.probabilities  # (M, G, A)
        else:
            actions = draw(rng, samples)
            if differentiable or action_values.in_one_pass(embedded):
                return action_values.compute(critic, embedded, actions).mean(-1)
            discrete = isinstance(policy, Categorical)
            share = actions.mean(-2) if discrete else torch.ones_like(actions[..., 0]) / samples
        if isinstance(policy, Categorical):
            actions = torch.eye(self.actions.size, device=embedded.device)[None, None]
        values = self._needed_values(critic, embedded, actions, share > 0, members, known)
        return (values * share).sum(-1)

    @torch.no_grad()
    def _needed_values(
        self,
        critic: TwoHotCritic,
        embedded: Tensor,
        actions: Tensor,
        mask: Tensor,
        members: Tensor | None,
        known: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Values (C, M, G, K) of `actions` (M or 1, G or 1, K, A) where `mask` (M, G, K) is true.

        Elsewhere, and for members that are not needed, they may be anything: only what is needed is
        computed, and not again if it is known. See `_policy_value` for the arguments.
        """
        if action_values.in_one_pass(embedded):
            return action_values.compute(critic, embedded, actions)
        mask = mask.expand(self.config.num_critics, *mask.shape)
        if members is not None:
            needed = torch.zeros(mask.shape[:-1], dtype=torch.bool, device=embedded.device)
            mask = mask & needed.scatter_(0, members, True).unsqueeze(-1)
        if known is None or self.actions.kind != "discrete":
            return action_values.compute_masked(critic, embedded, actions, mask)
        action_t, q = known
        rest = action_values.compute_masked(critic, embedded, actions, mask & (action_t == 0))
        return rest + action_t * q.unsqueeze(-1)

    def _actor_loss(
        self,
        policy: ActionDistribution,
        embedded: Tensor,
        action_t: Tensor,
        q: Tensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, Metrics]:
        """Loss and metrics of a policy (M, G); actions `action_t` (M, 1, A) have values `q`.

        `q` is (C, M, G); `embedded` is what the critic's `embed_states` gives for the M states.
        """
        known, samples = (action_t, q), self.config.value_samples
        if self.config.actor == "policy_gradient":
            values = self._policy_value(
                self.critic, embedded, policy, samples, rng, differentiable=True, known=known
            )
            normalised = self.popart.normalise(values.amin(0))
            advantage = (q - values.detach()).mean(0).sign()
            loss = objectives.policy_gradient_loss(normalised)
        else:
            with torch.no_grad():
                values = self._policy_value(
                    self.critic, embedded, policy, samples, rng, known=known
                )
                advantage = (q - values).mean(0)  # exactly 0 if all samples are the action taken
                weight = objectives.advantage_filter(
                    advantage, self.config.filter, self.config.filter_threshold, self.group.std
                )
            loss = objectives.filtered_imitation_loss(policy.log_prob(action_t), weight)
        positive = (advantage > 0).float()
        return loss, {
            "filter_share": positive.mean(),
            "filter_share_acting": positive[:, -1].mean(),
        }

    @torch.no_grad()
    def _value_metrics(self, outputs: Tensor, q: Tensor, target: Tensor) -> Metrics:
        """Metrics of the acting discount: values, TD targets, histogram of the most likely bins.

        outputs (C, M, G) or (C, M, G, N), q (M, G), target (M, G).
        """
        acting = target[:, -1]
        metrics = {
            "q_mean": q[:, -1].mean(),
            "td_target_mean": acting.mean(),
            "td_target_std": self.group.std(acting, correction=0),
        }
        if isinstance(self.critic, TwoHotCritic):
            top = outputs[:, :, -1].argmax(-1).flatten()  # (C * M,)
            bins = torch.arange(outputs.shape[-1], device=top.device)
            metrics["bin_histogram"] = (top.unsqueeze(1) == bins).float().mean(0)
        return metrics

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the target networks by `target_rate` towards the online ones."""
        targets: list[Tensor] = [*self.target_actor.parameters(), *self.target_critic.parameters()]
        online: list[Tensor] = [*self.actor.parameters(), *self.critic.parameters()]
        torch._foreach_lerp_(targets, online, self.config.target_rate)


def make_agent(
    config: AmagoConfig, observations: Mapping[str, gym.spaces.Box], actions: ActionSpec
) -> Agent:
    """A fresh agent on the configured device, whose weights depend on the seed alone.

    Raises `ConfigError` if the configuration does not suit the spaces.
    """
    try:
        with seeded_init(config.seed):
            return Agent(config, observations, actions).to(torch.device(config.device))
    except ValueError as error:
        raise ConfigError(str(error)) from None
