"""PPO with a GRU: the on-policy baseline with memory (paper, Figure 5).

    python -m workflow.baselines.ppo_gru SETTINGS.yaml --out RUN

The observation, the previous action and the previous reward go through AMAGO-2's own timestep
encoder into a GRU, and from there into a policy and a value. A round of timesteps is split into
chunks; each is unrolled from the hidden state that its actor had there.

Shapes: T timesteps of a round, N actors, P chunks of K timesteps.
"""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from amago2.config.schema import GruConfig
from amago2.env.spaces import ActionSpec, Array
from amago2.errors import ConfigError
from amago2.nets.actor import Actor
from amago2.nets.distributions import ActionDistribution, Categorical, TanhNormal
from amago2.nets.mlp import Mlp
from amago2.nets.recurrent import Gru, HiddenState
from amago2.nets.rows import Rows
from amago2.nets.timestep_encoders import make_timestep_encoder
from amago2.rollout.acting import policy_inputs
from amago2.rollout.collector import FinishedRollout
from amago2.rollout.replaying import Replayed
from amago2.seeding import Stream, numpy_rng, seeded_init, torch_rng
from amago2.training import checkpoint as ckpt
from amago2.training.learner import (
    NonFiniteError,
    load_optimizer_state_dict,
    optimizer_state_dict,
)
from amago2.training.trainer import EpochResult, Trainer, TrainerState
from workflow.baselines import command, ppo
from workflow.baselines.actors import Actors
from workflow.baselines.config import PpoGruConfig

PROBABILITY_LIMITS = (1e-6, 1.0)
"""Of discrete actions: none but that logarithms stay finite."""


class RecurrentAgent(nn.Module):
    """Timestep encoder, GRU, policy and value."""

    def __init__(
        self, config: PpoGruConfig, observations: Mapping[str, gym.spaces.Box], actions: ActionSpec
    ) -> None:
        """Build for the given spaces. Raises `ConfigError` for those it is not defined for."""
        super().__init__()
        if actions.kind not in ("discrete", "continuous"):
            raise ConfigError("ppo_gru is defined for Discrete and Box actions, not MultiBinary")
        p = config.ppo
        try:
            self.timestep_encoder = make_timestep_encoder(
                config.timestep_encoder, observations, actions, symlog_reward=False
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
        gru = GruConfig(
            kind="gru", context_length=p.sequence_length, width=p.width, layers=p.layers
        )
        self.trajectory_encoder = Gru(self.timestep_encoder.output, gru)
        self.actor = Actor(p.width, p.head_hidden_sizes, 1, actions, PROBABILITY_LIMITS)
        self.critic = Mlp([p.width, *p.head_hidden_sizes, 1])

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def initial_memory(self, rows: int) -> HiddenState:
        """Empty memory of `rows` rollouts."""
        return self.trajectory_encoder.initial_memory(rows, self.device)

    def heads(self, states: Tensor) -> tuple[ActionDistribution, Tensor]:
        """Policy with leading shape (..., 1) and value (...) of states (..., D)."""
        return self.actor(states), self.critic(states).squeeze(-1)

    @torch.inference_mode()
    def step(
        self, observation: Mapping[str, Tensor], reward: Tensor, action: Tensor, memory: HiddenState
    ) -> tuple[ActionDistribution, Tensor]:
        """Policy (N, 1) and value (N,) at the next timestep; advances `memory` in place."""
        encoded = self.timestep_encoder(observation, reward, action)
        return self.heads(self.trajectory_encoder.step(encoded, memory))

    def act(
        self,
        observation: Mapping[str, Tensor],
        reward: Tensor,
        action: Tensor,
        memory: HiddenState,
        rng: torch.Generator,
    ) -> Tensor:
        """Sampled actions (N, A): see `amago2.rollout.collector.Policy`."""
        policy, _ = self.step(observation, reward, action, memory)
        return policy.sample(rng)[:, 0]

    def unroll(
        self, observation: Mapping[str, Tensor], reward: Tensor, action: Tensor, hidden: Tensor
    ) -> tuple[ActionDistribution, Tensor]:
        """Policy (P, K, 1) and value (P, K) of chunks that start from hidden (layers, P, D)."""
        encoded = self.timestep_encoder(observation, reward, action)
        return self.heads(self.trajectory_encoder.unroll(encoded, hidden))


def entropy(policy: ActionDistribution) -> Tensor:
    """Entropy (...) of a categorical policy, or of the normal distribution under the tanh."""
    if isinstance(policy, Categorical):
        return -(policy.probabilities * policy.probabilities.log()).sum(-1)
    assert isinstance(policy, TanhNormal)
    return (policy.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum(-1)


class PpoTrainer(Trainer):
    """On-policy training: rounds of collecting, each followed by learning from just that round."""

    config: PpoGruConfig
    agent: RecurrentAgent

    def __init__(self, config: PpoGruConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        with seeded_init(config.seed):
            agent = RecurrentAgent(config, self.envs.observations, self.envs.actions)
        self.agent = agent.to(torch.device(config.device))
        self._parameters = list(self.agent.parameters())
        self.optimizer = torch.optim.Adam(self._parameters, config.ppo.learning_rate, eps=1e-5)
        self._updates = 0
        self.actors = Actors(self.envs, config.seed)
        self.memory = self.agent.initial_memory(len(self.envs))
        self.hidden: list[Tensor] = []  # (layers, N, D) at the start of every chunk of full length
        self.round: dict[str, Tensor] = {}  # (T, N, ...) by name: the present round's data

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self._updates

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The learned parameters."""
        return self._parameters

    def start(self) -> None:
        """Start every actor's first rollout."""
        self.actors.begin(range(len(self.envs)))

    def train_epoch(self) -> EpochResult:
        """Collect and learn for as many rounds as make an epoch."""
        rounds = self.config.collector.steps_per_epoch // self.config.ppo.rollout_steps
        finished: list[FinishedRollout] = []
        metrics: dict[str, Tensor] = {}
        collecting_s = learning_s = 0.0
        for i in range(rounds):
            started = time.monotonic()
            rng = torch_rng(
                self.config.seed, Stream.ACTING, self.epoch * rounds + i, device=self.agent.device
            )
            finished += self._collect(rng)
            collected = time.monotonic()
            for name, mean in self._learn().items():
                metrics[name] = metrics.get(name, torch.zeros(())) + mean / rounds
            collecting_s += collected - started
            learning_s += time.monotonic() - collected
            self.report("learn", (i + 1) / rounds)
        return EpochResult(finished, metrics, collecting_s, learning_s)

    # --- collecting -----------------------------------------------------------------------------

    def _collect(self, rng: torch.Generator) -> list[FinishedRollout]:
        """Collect a round of steps. Returns the rollouts that finished, in order."""
        finished: list[FinishedRollout] = []
        actors, self.hidden = self.actors, []
        self.agent.eval()
        for t in range(self.config.ppo.rollout_steps):
            if t % self.config.ppo.sequence_length == 0:
                self.hidden.append(self.memory.hidden.clone())
            observation, previous_reward, previous_action = self._inputs()
            policy, value = self.agent.step(
                observation, previous_reward, previous_action, self.memory
            )
            action = policy.sample(rng)
            data = {f"observation.{key}": x for key, x in observation.items()}
            data |= {"previous_reward": previous_reward, "previous_action": previous_action}
            data |= {"action": action[:, 0], "value": value}
            data |= {"log_prob": policy.log_prob(action)[:, 0]}
            data |= {"started": torch.from_numpy(actors.started)}
            self._record(t, data)  # before the step, which changes the arrays in place
            stored = self.envs.actions.store(action[:, 0].cpu().numpy())
            reward, terminated, truncated = actors.step(stored)
            ended = terminated | truncated
            timed_out = torch.from_numpy(truncated & ~terminated)
            value_n = torch.where(timed_out, self._value(), 0.0) if timed_out.any() else 0 * value
            data = {"reward": torch.from_numpy(reward).float(), "value_n": value_n}
            self._record(t, data | {"ended": torch.from_numpy(ended)})
            rows = np.flatnonzero(ended).tolist()
            for row in rows:
                self.memory.reset(row)
            if rows:
                finished += actors.renew(rows)
        self._fill_in_next_values(self._value())
        return finished

    def _inputs(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        return policy_inputs(self.agent.device, self.envs, self.actors.reward, self.actors.action)

    def _record(self, t: int, data: Mapping[str, Tensor]) -> None:
        """Store data (N, ...) of timestep t of the round, by name."""
        for name, x in data.items():
            if name not in self.round:
                self.round[name] = x.new_zeros((self.config.ppo.rollout_steps, *x.shape))
            self.round[name][t] = x

    def _value(self) -> Tensor:
        """Value (N,) of every actor's present state; leaves the memory as it is."""
        return self.agent.step(*self._inputs(), deepcopy(self.memory))[1].cpu()

    def _fill_in_next_values(self, last: Tensor) -> None:
        """Set `value_n` after each step that ended no rollout; `last` (N,) is after the round."""
        r = self.round
        following = torch.cat([r["value"][1:].cpu(), last[None]])
        r["value_n"] = torch.where(r["ended"], r["value_n"].cpu(), following)

    # --- learning -------------------------------------------------------------------------------

    def _learn(self) -> dict[str, Tensor]:
        """Make some passes over the round. Returns the mean of each metric.

        Raises `NonFiniteError` if one is not finite.
        """
        p, r = self.config.ppo, self.round
        self.agent.train()
        value = r["value"].cpu()
        estimate = ppo.generalised_advantages(
            r["reward"], value, r["value_n"], r["ended"], p.discount, p.gae_lambda
        )
        r["target"] = estimate + value
        r["advantage"] = (estimate - estimate.mean()) / (estimate.std() + 1e-8)
        chunks = ppo.split_into_chunks(r["started"].numpy(), p.sequence_length)
        totals: dict[str, Tensor] = {}
        for _ in range(p.epochs):
            order = numpy_rng(self.config.seed, Stream.UPDATE, self._updates)
            for chosen in np.array_split(order.permutation(len(chunks.row)), p.minibatches):
                for name, x in self._update(chunks, chosen).items():
                    totals[name] = totals.get(name, torch.zeros(())) + x.cpu()
        self._update_input_norm()
        for name, total in totals.items():
            if not bool(total.isfinite()):
                raise NonFiniteError(
                    f"{name} is not finite by update {self._updates}; "
                    f"{self.describe_last_checkpoint()}"
                )
        return {name: total / (p.epochs * p.minibatches) for name, total in totals.items()}

    def _update(self, chunks: ppo.Chunks, chosen: Array) -> dict[str, Tensor]:
        """Make one update from some chunks. Returns metrics."""
        p, device = self.config.ppo, self.agent.device
        t, n, valid = chunks.index(chosen, p.sequence_length)
        batch = {
            name: x[t.to(x.device), n.to(x.device)].to(device) for name, x in self.round.items()
        }
        policy, value = self.agent.unroll(
            _observation(batch),
            batch["previous_reward"],
            batch["previous_action"],
            self._initial_hidden(chunks, chosen),
        )
        valid = valid.to(device)
        log_prob = policy.log_prob(batch["action"].unsqueeze(-2)).squeeze(-1)
        old, advantage = batch["log_prob"], batch["advantage"]
        losses = ppo.clipped_loss(log_prob, old, advantage, p.clip_range)
        loss_actor = ppo.masked_mean(losses, valid)
        loss_critic = ppo.masked_mean((value - batch["target"]) ** 2, valid)
        mean_entropy = ppo.masked_mean(entropy(policy).squeeze(-1), valid)
        loss = loss_actor + p.value_loss_weight * loss_critic - p.entropy_weight * mean_entropy
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_grad_norm_(self._parameters, p.gradient_clip)
        self.optimizer.step()
        self._updates += 1
        clipped = ((log_prob - old).exp() - 1).abs() > p.clip_range
        metrics = {"loss_actor": loss_actor, "loss_critic": loss_critic, "entropy": mean_entropy}
        metrics |= {"grad_norm": norm, "clipped_share": ppo.masked_mean(clipped.float(), valid)}
        return {name: x.detach() for name, x in metrics.items()}

    def _initial_hidden(self, chunks: ppo.Chunks, chosen: Array) -> Tensor:
        """Hidden states (layers, P, D) at the start of chunks: empty at a rollout's own start."""
        length = self.config.ppo.sequence_length
        first, row = chunks.first[chosen], torch.from_numpy(chunks.row[chosen])
        index = torch.from_numpy(first // length)
        continued = torch.from_numpy(first % length == 0).to(self.agent.device)
        stored = torch.stack(self.hidden)[index, :, row]  # (P, layers, D)
        return (stored * continued[:, None, None]).transpose(0, 1).contiguous()

    @torch.no_grad()
    def _update_input_norm(self) -> None:
        """Update the input normalisation from the round, once it has been learned from.

        Otherwise the policy that is learned would not be the one that collected.
        """
        r, device = self.round, self.agent.device
        every = Rows.where(torch.ones_like(r["ended"]).to(device))
        observation = {key: x.to(device) for key, x in _observation(r).items()}
        previous = (r[name].to(device) for name in ("previous_reward", "previous_action"))
        self.agent.timestep_encoder(observation, *previous, every)

    # --- checkpoints ----------------------------------------------------------------------------

    def state_dict(self) -> TrainerState:
        """See `Trainer.state_dict`."""
        histories, values = self.actors.state_dict()
        memory = {f"memory.{name}": x for name, x in self.memory.state_dict().items()}
        moments = optimizer_state_dict(self.optimizer, self._parameters)
        trainer = histories | memory | moments
        return TrainerState(self.agent.state_dict(), trainer, {"actors": values})

    def load_state_dict(self, checkpoint: ckpt.Checkpoint, folder: Path) -> Replayed:
        """See `Trainer.load_state_dict`."""
        self.agent.load_state_dict(checkpoint.policy)
        load_optimizer_state_dict(self.optimizer, self._parameters, checkpoint.trainer)
        self._updates = checkpoint.state["updates"]
        replayed, begun = self.actors.load_state_dict(
            checkpoint.trainer, checkpoint.state["actors"]
        )
        for name, tensor in self.memory.state_dict().items():
            tensor.copy_(checkpoint.trainer[f"memory.{name}"])
        for row in begun:
            self.memory.reset(row)
        return replayed


def _observation(data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The observation by its own keys, of data by name."""
    prefix = "observation."
    return {k.removeprefix(prefix): x for k, x in data.items() if k.startswith(prefix)}


if __name__ == "__main__":
    command.main(PpoGruConfig, PpoTrainer)
