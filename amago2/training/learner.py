"""The learner: sample a batch, compute the loss, clip gradients, step, move the targets."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amago2.agent.agent import Agent, Metrics
from amago2.config.schema import AmagoConfig
from amago2.distributed import SingleProcess
from amago2.env.spaces import Array
from amago2.errors import RunError
from amago2.replay.batches import make_batch, shuffle_rewards
from amago2.replay.buffer import Replay
from amago2.seeding import Stream, numpy_rng, torch_rng


class NonFiniteError(RunError):
    """A loss or weight became infinite or NaN."""


class Learner:
    """AdamW with linear warm-up over everything but the target networks."""

    def __init__(
        self,
        config: AmagoConfig,
        agent: Agent,
        replay: Replay | None,
        group: SingleProcess | None = None,
    ) -> None:
        """`replay` is rank 0's; the other ranks of `group` learn from what it scatters."""
        self.config, self.agent, self.replay = config, agent, replay
        self.group = group or SingleProcess()
        agent.set_process_group(self.group)
        self.parameters = [p for p in agent.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learner.learning_rate,
            weight_decay=config.learner.weight_decay,
            fused=True,
        )
        self.updates = 0

    def learn(self, updates: int) -> dict[str, Tensor]:
        """Make updates, one at least, and return the mean of each metric.

        Raises `NonFiniteError` if a metric or a weight is not finite.
        """
        self.agent.train()
        totals = self._update()
        for _ in range(updates - 1):
            sums = torch._foreach_add([*totals.values()], [*self._update().values()])
            totals = dict(zip(totals, sums, strict=True))
        means = {name: (total / updates).cpu() for name, total in totals.items()}
        for name, mean in means.items():
            if not bool(mean.isfinite().all()):
                raise NonFiniteError(f"{name} is not finite by update {self.updates}")
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            raise NonFiniteError(f"a weight is not finite by update {self.updates}")
        return means

    def _update(self) -> Metrics:
        assert self.replay is not None
        c, seed = self.config, self.config.seed
        rng = numpy_rng(seed, Stream.REPLAY, self.updates)
        records, lengths = self.replay.sample(
            rng, c.learner.batch_size, c.trajectory_encoder.context_length
        )
        if c.learner.shuffle_rewards:
            shuffle_rewards(records, lengths, numpy_rng(seed, Stream.SHUFFLE, self.updates))
        return self.step(*self.group.scatter_batch(records, lengths))

    def step(self, records: Array, lengths: Array) -> Metrics:
        """Make one update from this rank's share of a batch: records (B, L), valid lengths (B,).

        Returns metrics of the whole batch.
        """
        device = self.agent.device
        batch = make_batch(records, lengths, self.agent.actions)
        counters = (self.updates, *self.group.rng_counters)
        rng = torch_rng(self.config.seed, Stream.UPDATE, *counters, device=device)
        self._set_learning_rate()
        loss, metrics = self.agent.loss(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self.group.share).backward()
        self.group.all_reduce_gradients(self.parameters)
        metrics = self.group.all_reduce_metrics(metrics)
        clip = self.config.learner.gradient_clip
        metrics["grad_norm"] = clip_grad_norm_(self.parameters, clip).detach()
        self.optimizer.step()
        self.agent.update_targets()
        self.updates += 1
        return metrics

    def _set_learning_rate(self) -> None:
        c = self.config.learner
        warmup = min(1.0, (self.updates + 1) / max(1, c.warmup_updates))
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * warmup

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's moments; see `optimizer_state_dict`."""
        return optimizer_state_dict(self.optimizer, self.parameters)

    def load_state_dict(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Load what `state_dict` gave after `updates` updates; other tensors are ignored."""
        self.updates = updates
        load_optimizer_state_dict(self.optimizer, self.parameters, tensors)


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
