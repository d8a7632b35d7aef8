"""The learner: sample, compute the loss, clip, step, move the targets."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amago2.agent.agent import Agent, Metrics
from amago2.config.schema import AmagoConfig
from amago2.distributed import Alone
from amago2.env.spaces import Array
from amago2.errors import RunError
from amago2.replay.batches import make_batch, shuffle_rewards
from amago2.replay.buffer import Replay
from amago2.seeding import Stream, numpy_rng, torch_rng


class NotFinite(RunError):
    """A loss or weight became infinite or NaN."""


class Learner:
    """AdamW with linear warm-up over everything but the target networks."""

    def __init__(
        self, config: AmagoConfig, agent: Agent, replay: Replay | None, ranks: Alone | None = None
    ) -> None:
        """`replay` is rank 0's; the other ranks of `ranks` learn from what it deals them."""
        self.config, self.agent, self.replay = config, agent, replay
        self.ranks = ranks or Alone()
        agent.share_batches(self.ranks)
        self.parameters = [p for p in agent.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learner.learning_rate,
            weight_decay=config.learner.weight_decay,
            fused=True,
        )
        self.updates = 0

    def learn(self, updates: int) -> dict[str, Tensor]:
        """Make updates and return the mean of each metric. Raises `NotFinite`."""
        self.agent.train()
        totals: Metrics = {}
        for _ in range(updates):
            for name, value in self._update().items():
                totals[name] = totals[name] + value if name in totals else value
        means = {name: (total / updates).cpu() for name, total in totals.items()}
        for name, mean in means.items():
            if not bool(mean.isfinite().all()):
                raise NotFinite(f"{name} is not finite by update {self.updates}")
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            raise NotFinite(f"a weight is not finite by update {self.updates}")
        return means

    def _update(self) -> Metrics:
        assert self.replay is not None
        c, seed = self.config, self.config.seed
        drawing = numpy_rng(seed, Stream.REPLAY, self.updates)
        records, lengths = self.replay.sample(
            drawing, c.learner.batch_size, c.trajectory_encoder.context_length
        )
        if c.learner.shuffle_rewards:
            shuffle_rewards(records, lengths, numpy_rng(seed, Stream.SHUFFLE, self.updates))
        return self.step(*self.ranks.deal(records, lengths))

    def step(self, records: Array, lengths: Array) -> Metrics:
        """One update from a share of a batch: records (B, L), valid lengths (B,)."""
        device = self.agent.device
        batch = make_batch(records, lengths, self.agent.actions).to(device)
        counters = (self.updates, *self.ranks.counters)
        rng = torch_rng(self.config.seed, Stream.UPDATE, *counters, device=device)
        self._set_learning_rate()
        loss, metrics = self.agent.loss(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self.ranks.share).backward()
        self.ranks.add_gradients(self.parameters)
        metrics = self.ranks.of_whole(metrics)
        clip = self.config.learner.gradient_clip
        metrics["grad_norm"] = clip_grad_norm_(self.parameters, clip).detach()
        self.optimizer.step()
        self.agent.update_targets()
        self.updates += 1
        return metrics

    def _set_learning_rate(self) -> None:
        c = self.config.learner
        warm = min(1.0, (self.updates + 1) / max(1, c.warmup_updates))
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * warm

    def state(self) -> dict[str, Tensor]:
        """Optimiser moments by parameter position."""
        return optimizer_state(self.optimizer, self.parameters)

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Take over what `state` gave after `updates` updates."""
        self.updates = updates
        restore_optimizer(self.optimizer, self.parameters, tensors)


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Moments of each parameter, named by its position."""
    moments: dict[str, Tensor] = {}
    for i, parameter in enumerate(parameters):
        for name, value in optimizer.state.get(parameter, {}).items():
            moments[f"optimizer.{i}.{name}"] = value
    return moments


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Take over what `optimizer_state` gave.

    Only a fused optimiser keeps its count of steps where the parameter is.
    """
    fused = bool(optimizer.defaults.get("fused"))
    for i, parameter in enumerate(parameters):
        prefix = f"optimizer.{i}."
        optimizer.state[parameter] = {
            key: value.clone().to(parameter.device if fused or key != "step" else "cpu")
            for name, value in tensors.items()
            if (key := name.removeprefix(prefix)) != name
        }
        if not optimizer.state[parameter]:
            del optimizer.state[parameter]
