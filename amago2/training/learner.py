"""The learner: sample a batch, compute the loss, clip gradients, step, move the targets."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amago2.agent import accumulation
from amago2.agent.agent import Agent, Metrics
from amago2.agent.batch import PreparedBatch
from amago2.config.schema import AmagoConfig
from amago2.distributed import SingleProcess
from amago2.env.spaces import Array
from amago2.errors import RunError
from amago2.nets.captured import CapturedTransformer
from amago2.nets.transformer import Transformer
from amago2.replay.batches import make_batch, shuffle_rewards
from amago2.replay.buffer import Replay
from amago2.replay.mixture import Mixture
from amago2.seeding import Stream, numpy_rng, torch_rng
from amago2.training.one_ahead import one_ahead

Parts = list[PreparedBatch]
"""A batch, or its parts if gradients are accumulated."""


class NonFiniteError(RunError):
    """A loss or weight became infinite or NaN."""


def captured_transformer(agent: Agent, config: AmagoConfig) -> CapturedTransformer | None:
    """Stands in for the agent's trajectory encoder in training, if that is configured."""
    transformer, c = agent.trajectory_encoder, config.learner
    if not c.cuda_graph or agent.device.type != "cuda" or not isinstance(transformer, Transformer):
        return None
    with agent.autocast(cache_enabled=False):
        return CapturedTransformer(transformer, c.batch_size // (c.processes or 1))


class Learner:
    """AdamW with linear warm-up over everything but the target networks."""

    def __init__(
        self,
        config: AmagoConfig,
        agent: Agent,
        replay: Replay | Mixture | None,
        group: SingleProcess | None = None,
    ) -> None:
        """`replay` is rank 0's; the other ranks of `group` learn from what it scatters."""
        self.config, self.agent, self.replay = config, agent, replay
        self.group = group or SingleProcess()
        agent.set_process_group(self.group)
        self.parameters: list[Tensor] = [p for p in agent.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learner.learning_rate,
            weight_decay=config.learner.weight_decay,
            fused=True,
        )
        self.updates = 0
        self.ahead = agent.device.type == "cuda" and type(self.group) is SingleProcess
        """Whether a thread makes batches, which changes nothing of them."""
        self.captured = captured_transformer(agent, config)

    def learn(self, updates: int) -> dict[str, Tensor]:
        """Make updates, one at least, and return the mean of each metric.

        Raises `NonFiniteError` if a metric or a weight is not finite.
        """
        self.agent.train()
        batches = self._batches(range(self.updates, self.updates + updates))
        totals = self._update(next(batches))
        for batch in batches:
            sums = torch._foreach_add([*totals.values()], [*self._update(batch).values()])
            totals = dict(zip(totals, sums, strict=True))
        means, largest = _to_host(totals, self.parameters)
        means = {name: total / updates for name, total in means.items()}
        for name, mean in means.items():
            if not bool(mean.isfinite().all()):
                raise NonFiniteError(f"{name} is not finite by update {self.updates}")
        if not bool(largest.isfinite().all()):
            raise NonFiniteError(f"a weight is not finite by update {self.updates}")
        return means

    def _batches(self, numbers: range) -> Iterator[Parts]:
        """Batches of the updates of these numbers, each while the one before is computed."""
        return (
            one_ahead(self._batch, numbers, self.agent.device)
            if self.ahead
            else map(self._batch, numbers)
        )

    def _batch(self, number: int) -> Parts:
        """This rank's share of an update's batch."""
        assert self.replay is not None
        c, seed = self.config, self.config.seed
        rng = numpy_rng(seed, Stream.REPLAY, number)
        records, lengths = self.replay.sample(
            rng, c.learner.batch_size, c.trajectory_encoder.context_length
        )
        if c.learner.shuffle_rewards:
            shuffle_rewards(records, lengths, numpy_rng(seed, Stream.SHUFFLE, number))
        return self._prepare(*self.group.scatter_batch(records, lengths))

    def _prepare(self, records: Array, lengths: Array) -> Parts:
        count = self.config.learner.gradient_accumulation or 1
        pairs = zip(np.split(records, count), np.split(lengths, count), strict=True)
        return [self.agent.prepare(make_batch(*pair, self.agent.actions)) for pair in pairs]

    def step(self, records: Array, lengths: Array) -> Metrics:
        """Make one update from this rank's share of a batch: records (B, L), valid lengths (B,).

        Returns metrics of the whole batch.
        """
        return self._update(self._prepare(records, lengths))

    def _update(self, parts: Parts) -> Metrics:
        self._set_learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        metrics = self._backward(parts)
        self.group.all_reduce_gradients(self.parameters)
        metrics = self.group.all_reduce_metrics(metrics)
        if len(parts) > 1:
            metrics = accumulation.with_deviation(metrics)
        clip = self.config.learner.gradient_clip
        metrics["grad_norm"] = clip_grad_norm_(self.parameters, clip).detach()
        self.optimizer.step()
        self.agent.update_targets()
        self.updates += 1
        return metrics

    def _backward(self, parts: Parts) -> Metrics:
        """Compute the gradients of this rank's share of a batch. Returns its metrics."""
        if len(parts) > 1:
            return accumulation.backward(self.agent, parts, self._rng, self.group.share)
        loss, metrics = self.agent.loss(parts[0], self._rng(), self.captured)
        (loss * self.group.share).backward()
        return metrics

    def _rng(self, *part: int) -> torch.Generator:
        """A fresh generator of the present update, and of a part of its batch if there are some."""
        counters = (self.updates, *self.group.rng_counters, *part)
        return torch_rng(self.config.seed, Stream.UPDATE, *counters, device=self.agent.device)

    def _set_learning_rate(self) -> None:
        c = self.config.learner
        share = min(1.0, (self.updates + 1) / max(1, c.warmup_updates))
        if c.learning_rate_decay:
            epochs = self.config.collector.epochs - self.config.collector.warmup_epochs
            share *= max(0.0, 1 - self.updates / max(1, epochs * c.updates_per_epoch))
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * share

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's moments; see `optimizer_state_dict`."""
        return optimizer_state_dict(self.optimizer, self.parameters)

    def load_state_dict(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Load what `state_dict` gave after `updates` updates; other tensors are ignored."""
        self.updates = updates
        load_optimizer_state_dict(self.optimizer, self.parameters, tensors)


def _to_host(metrics: Metrics, parameters: list[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Metrics, and the largest absolute value of each parameter, by one copy."""
    largest = torch.stack(torch._foreach_norm(parameters, math.inf))
    parts = [*metrics.values(), largest]
    found = torch.cat([x.flatten() for x in parts]).cpu().split([x.numel() for x in parts])
    copied = [x.view(part.shape) for x, part in zip(found, parts, strict=True)]
    return dict(zip(metrics, copied, strict=False)), copied[-1]


def optimizer_state_dict(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The optimiser's state as flat tensors: `optimizer.<position of the parameter>.<moment>`."""
    moments: dict[str, Tensor] = {}
    for i, parameter in enumerate(parameters):
        for name, value in optimizer.state.get(parameter, {}).items():
            moments[f"optimizer.{i}.{name}"] = value
    return moments


def load_optimizer_state_dict(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Load what `optimizer_state_dict` gave; other tensors are ignored.

    Only a fused optimiser keeps its count of steps on the parameter's device. Raises `RunError`
    if a tensor does not fit its parameter: the optimiser's kernels would not notice.
    """
    fused = bool(optimizer.defaults.get("fused"))
    for i, parameter in enumerate(parameters):
        prefix = f"optimizer.{i}."
        own = {
            key: value
            for name, value in tensors.items()
            if (key := name.removeprefix(prefix)) != name
        }
        if own:
            _check_moments(prefix, own, parameter)
            optimizer.state[parameter] = {
                key: value.clone().to(parameter.device if fused or key != "step" else "cpu")
                for key, value in own.items()
            }
        else:
            optimizer.state.pop(parameter, None)


def _check_moments(prefix: str, moments: Mapping[str, Tensor], parameter: Tensor) -> None:
    wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {"step": ((), torch.float32)}
    wanted |= {key: (tuple(parameter.shape), parameter.dtype) for key in ("exp_avg", "exp_avg_sq")}
    for key in sorted(wanted.keys() | moments.keys()):
        found = moments.get(key)
        if found is None or (tuple(found.shape), found.dtype) != wanted.get(key):
            raise RunError(
                f"{prefix}{key}: the optimiser's state does not fit the agent's parameters"
            )
