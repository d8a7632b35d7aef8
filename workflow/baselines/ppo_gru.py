"""PPO with a GRU: the on-policy baseline that remembers (paper, Figure 5).

    python -m workflow.baselines.ppo_gru SETTINGS.yaml --out RUN

An observation, the previous action and the previous reward go through AMAGO-2's own timestep
encoder into a GRU, and from there into a policy and a value. A round of timesteps is cut into
pieces; each is unrolled from the hidden state that its actor had there.

Shapes: T timesteps of a round, N actors, P pieces of K timesteps.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from amago2.config.schema import GruConfig
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError
from amago2.nets.distributions import Categorical, Policy, TanhNormal
from amago2.nets.heads import Actor
from amago2.nets.recurrent import Gru, HiddenState
from amago2.nets.timestep_encoders import Mlp, make_encoder
from amago2.rollout.acting import policy_inputs
from amago2.rollout.collector import FinishedRollout
from amago2.seeding import Stream, numpy_rng, seeded_init, torch_rng
from amago2.training import checkpoint as ckpt
from amago2.training.learner import NotFinite, optimizer_state, restore_optimizer
from amago2.training.trainer import Epoch, Run
from workflow.baselines import command, ppo
from workflow.baselines.config import PpoGruConfig
from workflow.baselines.rollouts import Rollouts


class RecurrentAgent(nn.Module):
    """Encoder, GRU, policy and value."""

    def __init__(
        self, config: PpoGruConfig, observations: Mapping[str, gym.spaces.Box], actions: ActionSpec
    ) -> None:
        """Build for the given spaces. Raises `ConfigError` for those it is not defined for."""
        super().__init__()
        if actions.kind == "multibinary":
            raise ConfigError("ppo_gru is defined for Discrete and Box actions, not MultiBinary")
        p = config.ppo
        try:
            self.encoder = make_encoder(
                config.timestep_encoder, observations, actions, symlog_reward=False
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
        memory = GruConfig(
            kind="gru", context_length=p.sequence_length, width=p.width, layers=p.layers
        )
        self.trunk = Gru(self.encoder.output, memory)
        self.actor = Actor(p.width, p.head_hidden_sizes, 1, actions)
        self.critic = Mlp([p.width, *p.head_hidden_sizes, 1])

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def initial_memory(self, rows: int) -> HiddenState:
        """Empty memory of `rows` rollouts."""
        return self.trunk.initial_memory(rows, self.device)

    def heads(self, states: Tensor) -> tuple[Policy, Tensor]:
        """Policy with leading shape (..., 1) and value (...) of states (..., D)."""
        return self.actor(states), self.critic(states).squeeze(-1)

    @torch.inference_mode()
    def step(
        self, observation: Mapping[str, Tensor], reward: Tensor, action: Tensor, memory: HiddenState
    ) -> tuple[Policy, Tensor]:
        """Policy (N, 1) and value (N,) at the next timestep; advances `memory` in place."""
        return self.heads(self.trunk.step(self.encoder(observation, reward, action), memory))

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
    ) -> tuple[Policy, Tensor]:
        """Policy (P, K, 1) and value (P, K) of pieces that begin with hidden (layers, P, D)."""
        return self.heads(self.trunk.unroll(self.encoder(observation, reward, action), hidden))


def entropy(policy: Policy) -> Tensor:
    """Of a categorical policy, or of the normal distribution under the tanh: shape (...)."""
    if isinstance(policy, Categorical):
        return -(policy.probabilities * policy.probabilities.log()).sum(-1)
    assert isinstance(policy, TanhNormal)
    return (policy.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum(-1)


class PpoRun(Run):
    """On-policy: rounds of collecting, each followed by learning from just that."""

    config: PpoGruConfig
    agent: RecurrentAgent

    def __init__(self, config: PpoGruConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        with seeded_init(config.seed):
            agent = RecurrentAgent(config, self.envs.observations, self.envs.actions)
        self.agent = agent.to(torch.device(config.device))
        self.weights = list(self.agent.parameters())
        self.optimizer = torch.optim.Adam(self.weights, config.ppo.learning_rate, eps=1e-5)
        self.done = 0
        self.rollouts = Rollouts(self.envs, config.seed)
        self.memory = self.agent.initial_memory(len(self.envs))
        self.hidden: list[Tensor] = []  # (layers, N, D) wherever the round may be cut
        self.seen: dict[str, Tensor] = {}  # (T, N, ...) by name: the present round

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.done

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What is learned."""
        return self.weights

    def begin(self) -> None:
        """Start every actor's first rollout."""
        self.rollouts.begin(range(len(self.envs)))

    def advance(self) -> Epoch:
        """Some rounds."""
        rounds = self.config.collector.steps_per_epoch // self.config.ppo.rollout_steps
        finished: list[FinishedRollout] = []
        metrics: dict[str, Tensor] = {}
        collecting = learning = 0.0
        for i in range(rounds):
            started = time.monotonic()
            rng = torch_rng(
                self.config.seed, Stream.ACTING, self.epoch * rounds + i, device=self.agent.device
            )
            finished += self._collect(rng)
            collected = time.monotonic()
            for name, mean in self._learn().items():
                metrics[name] = metrics.get(name, torch.zeros(())) + mean / rounds
            collecting += collected - started
            learning += time.monotonic() - collected
            self.report("learn", (i + 1) / rounds)
        return Epoch(finished, metrics, collecting, learning)

    # --- collecting -----------------------------------------------------------------------------

    def _collect(self, rng: torch.Generator) -> list[FinishedRollout]:
        """A round of steps. Returns the rollouts that finished, in order."""
        finished: list[FinishedRollout] = []
        rollouts, self.hidden = self.rollouts, []
        self.agent.eval()
        for t in range(self.config.ppo.rollout_steps):
            if t % self.config.ppo.sequence_length == 0:
                self.hidden.append(self.memory.hidden.clone())
            observation, before, action = self._inputs()
            policy, value = self.agent.step(observation, before, action, self.memory)
            taken = policy.sample(rng)
            told = {f"observation.{key}": x for key, x in observation.items()}
            told |= {"before": before, "action": action, "taken": taken[:, 0], "value": value}
            told |= {"log_prob": policy.log_prob(taken)[:, 0]}
            told |= {"started": torch.from_numpy(rollouts.started)}
            self._note(t, told)  # before the step, which changes the arrays in place
            stored = self.envs.actions.store(taken[:, 0].cpu().numpy())
            reward, terminated, truncated = rollouts.step(stored)
            ended = terminated | truncated
            cut_short = torch.from_numpy(truncated & ~terminated)
            value_n = torch.where(cut_short, self._value(), 0.0) if cut_short.any() else 0 * value
            told = {"reward": torch.from_numpy(reward).float(), "value_n": value_n}
            self._note(t, told | {"ended": torch.from_numpy(ended)})
            over = np.flatnonzero(ended).tolist()
            for row in over:
                self.memory.reset(row)
            if over:
                finished += rollouts.renew(over)
        self._value_after(self._value())
        return finished

    def _inputs(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        return policy_inputs(
            self.agent.device, self.envs, self.rollouts.reward, self.rollouts.action
        )

    def _note(self, t: int, told: Mapping[str, Tensor]) -> None:
        for name, x in told.items():
            if name not in self.seen:
                self.seen[name] = x.new_zeros((self.config.ppo.rollout_steps, *x.shape))
            self.seen[name][t] = x

    def _value(self) -> Tensor:
        """Value (N,) of where every actor is now; the memory stays where it was."""
        return self.agent.step(*self._inputs(), deepcopy(self.memory))[1].cpu()

    def _value_after(self, last: Tensor) -> None:
        """Put in the values of the states after each step that ended no rollout."""
        s = self.seen
        following = torch.cat([s["value"][1:].cpu(), last[None]])
        s["value_n"] = torch.where(s["ended"], s["value_n"].cpu(), following)

    # --- learning -------------------------------------------------------------------------------

    def _learn(self) -> dict[str, Tensor]:
        """Passes over the round. Returns the mean of each metric. Raises `NotFinite`."""
        p, s = self.config.ppo, self.seen
        self.agent.train()
        value = s["value"].cpu()
        estimate = ppo.advantages(
            s["reward"], value, s["value_n"], s["ended"], p.discount, p.gae_lambda
        )
        s["target"] = estimate + value
        s["advantage"] = (estimate - estimate.mean()) / (estimate.std() + 1e-8)
        pieces = ppo.cut(s["started"].numpy(), p.sequence_length)
        totals: dict[str, Tensor] = {}
        for _ in range(p.epochs):
            order = numpy_rng(self.config.seed, Stream.UPDATE, self.done)
            for chosen in np.array_split(order.permutation(len(pieces.row)), p.minibatches):
                for name, x in self._update(pieces, chosen).items():
                    totals[name] = totals.get(name, torch.zeros(())) + x.cpu()
        self._learn_scale()
        for name, total in totals.items():
            if not bool(total.isfinite()):
                raise NotFinite(f"{name} is not finite by update {self.done}; {self.last_good()}")
        return {name: total / (p.epochs * p.minibatches) for name, total in totals.items()}

    def _update(self, pieces: ppo.Pieces, chosen: Any) -> dict[str, Tensor]:
        p, device = self.config.ppo, self.agent.device
        t, n, valid = pieces.index(chosen, p.sequence_length)
        batch = {
            name: x[t.to(x.device), n.to(x.device)].to(device) for name, x in self.seen.items()
        }
        policy, value = self.agent.unroll(
            _observation(batch), batch["before"], batch["action"], self._hidden(pieces, chosen)
        )
        valid = valid.to(device)
        log_prob = policy.log_prob(batch["taken"].unsqueeze(-2)).squeeze(-1)
        old, advantage = batch["log_prob"], batch["advantage"]
        each = ppo.clipped_loss(log_prob, old, advantage, p.clip_range)
        loss_actor = ppo.masked_mean(each, valid)
        loss_critic = ppo.masked_mean((value - batch["target"]) ** 2, valid)
        spread = ppo.masked_mean(entropy(policy).squeeze(-1), valid)
        loss = loss_actor + p.value_loss_weight * loss_critic - p.entropy_weight * spread
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_grad_norm_(self.weights, p.gradient_clip)
        self.optimizer.step()
        self.done += 1
        clipped = ((log_prob - old).exp() - 1).abs() > p.clip_range
        metrics = {"loss_actor": loss_actor, "loss_critic": loss_critic, "entropy": spread}
        metrics |= {"grad_norm": norm, "clipped_share": ppo.masked_mean(clipped.float(), valid)}
        return {name: x.detach() for name, x in metrics.items()}

    def _hidden(self, pieces: ppo.Pieces, chosen: Any) -> Tensor:
        """Hidden states (layers, P, D) at the start of pieces: empty at a rollout's own start."""
        first, row = pieces.first[chosen], torch.from_numpy(pieces.row[chosen])
        kept = torch.from_numpy(first // self.config.ppo.sequence_length)
        continued = torch.from_numpy(first % self.config.ppo.sequence_length == 0).to(
            self.agent.device
        )
        every = torch.stack(self.hidden)[kept, :, row]  # (P, layers, D)
        return (every * continued[:, None, None]).transpose(0, 1).contiguous()

    @torch.no_grad()
    def _learn_scale(self) -> None:
        """Let the input normaliser learn from the round; it stays as it is while the round lasts.

        Otherwise the policy that is learned would not be the one that collected.
        """
        s, device = self.seen, self.agent.device
        valid = torch.ones_like(s["ended"]).to(device)
        observation = {key: x.to(device) for key, x in _observation(s).items()}
        self.agent.encoder(observation, s["before"].to(device), s["action"].to(device), valid)

    # --- keeping --------------------------------------------------------------------------------

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """See `Run.kept`."""
        histories, values = self.rollouts.state()
        memory = {f"memory.{name}": x for name, x in self.memory.tensors().items()}
        moments = optimizer_state(self.optimizer, self.weights)
        return self.agent.state_dict(), histories | memory | moments, {"rollouts": values}

    def restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        """See `Run.restore`."""
        self.agent.load_state_dict(kept.policy)
        restore_optimizer(self.optimizer, self.weights, kept.trainer)
        self.done = kept.state["updates"]
        self.rollouts.restore(kept.trainer, kept.state["rollouts"])
        for name, tensor in self.memory.tensors().items():
            tensor.copy_(kept.trainer[f"memory.{name}"])


def _observation(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "observation."
    return {k.removeprefix(prefix): x for k, x in named.items() if k.startswith(prefix)}


if __name__ == "__main__":
    sys.exit(command.main(PpoGruConfig, PpoRun))
