"""Training of an AMAGO-2 agent: collect, learn; resumable at any moment to the same bits."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, zeros_like

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.distributed import Alone, Ranks, together
from amago2.replay.shards import record_type
from amago2.rollout.collector import Collector, make_replay
from amago2.training import checkpoint as ckpt
from amago2.training.async_collector import Beside
from amago2.training.initialise import adopt
from amago2.training.learner import Learner, NotFinite
from amago2.training.resources import check_resources, computing
from amago2.training.trainer import Epoch, Run, carry_out, default_scratch


def train(
    config: AmagoConfig,
    out: Path | str,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    origin: Path | None = None,
) -> Path:
    """Train one run, or go on with it, and publish it in the folder `out`: see `carry_out`.

    With `origin`, a finished run's folder, it begins where that one ended: see `adopt`.
    """
    out = Path(out)
    with together(config.learner.processes, assist) as ranks:
        if origin is not None and not (out / "record.json").exists():
            adopt(config, origin, scratch or default_scratch(out))
        return carry_out(partial(AgentRun, ranks=ranks), config, out, scratch, provenance)


def assist(ranks: Ranks) -> None:
    """Learn beside a run, as another of its ranks, until it ends.

    Raises `RunError` if the run's process is gone.
    """
    with closing(ranks):
        if told := ranks.told():
            about, tensors = told
            config = AmagoConfig.model_validate(about["config"])
            with computing(config):
                _assist(ranks, config, about, tensors)


def _assist(
    ranks: Ranks, config: AmagoConfig, about: Mapping[str, Any], tensors: dict[str, Tensor]
) -> None:
    observations, actions = ckpt.read_spaces(about["spaces"])
    ranks.compute_on(config.device)
    agent = ckpt.make_agent(config, observations, actions)
    agent.load_state_dict({name: tensors.pop(name) for name in agent.state_dict()})
    learner = Learner(config, agent, None, ranks)
    learner.restore(tensors, about["updates"])
    agent.train()
    record, length = (
        record_type(observations, actions),
        config.trajectory_encoder.context_length + 1,
    )
    while share := ranks.dealt(length, record):
        learner.step(*share)


class AgentRun(Run):
    """Off-policy: a collector fills the replay that the learner samples."""

    BULK = ("checkpoint", "replay")
    config: AmagoConfig
    agent: Agent

    def __init__(self, config: AmagoConfig, scratch: Path, ranks: Alone | None = None) -> None:
        # Where another process steps the actors, one is here to say its spaces.
        super().__init__(config, scratch, 1 if config.collector.asynchronous else None)
        self.ranks = ranks or Alone()
        check_resources(config, self.envs, scratch)
        self.agent = ckpt.make_agent(config, self.envs.observations, self.envs.actions)
        self.replay = make_replay(config, self.envs, scratch / "replay")
        self.learner = Learner(config, self.agent, self.replay, self.ranks)
        self.collector: Collector | Beside
        if config.collector.asynchronous:
            self.collector = Beside(config)
        else:
            self.collector = Collector(config, self.envs, self.agent, self.replay)

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.learner.updates

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What is learned."""
        return self.learner.parameters

    def begin(self) -> None:
        """Start every actor's first rollout."""
        self.collector.reset()
        self._tell()

    def _tell(self) -> None:
        """What the other ranks begin with; see `assist`."""
        spaces = ckpt.describe_spaces(self.envs.observations, self.envs.actions)
        config = self.config.model_dump(mode="json")
        about = {"config": config, "spaces": spaces, "updates": self.updates}
        self.ranks.tell(about, self.agent.state_dict() | self.learner.state())
        self.ranks.compute_on(self.config.device)

    def advance(self) -> Epoch:
        """Collect, then learn, or both at once."""
        if isinstance(self.collector, Beside):
            self.collector.collect(self.epoch, self.agent)
            metrics, learning_s = self._learn()
            found = self.collector.collected(self.replay)
            return Epoch(found.finished, metrics, found.seconds, learning_s)
        started = time.monotonic()
        finished = self.collector.collect(self.epoch)
        collecting_s = time.monotonic() - started
        metrics, learning_s = self._learn()
        return Epoch(finished, metrics, collecting_s, learning_s)

    def _learn(self) -> tuple[dict[str, Tensor], float]:
        """An epoch's updates, unless it is too early or there is no finished rollout yet."""
        started = time.monotonic()
        ready = self.epoch >= self.config.collector.warmup_epochs and len(self.replay)
        metrics = self._update(self.config.learner.updates_per_epoch if ready else 0)
        return metrics, time.monotonic() - started

    def _update(self, updates: int) -> dict[str, Tensor]:
        """Updates in slices, so that progress is seen."""
        total: dict[str, Tensor] = {}
        done = 0
        while done < updates:
            slice_ = min(25, updates - done)
            try:
                means = self.learner.learn(slice_)
            except NotFinite as error:
                raise NotFinite(f"{error}; {self.last_good()}") from None
            for name, mean in means.items():
                total[name] = total.get(name, zeros_like(mean)) + mean * (slice_ / updates)
            done += slice_
            self.report("learn", done / updates)
        return total

    def _more_metrics(self) -> list[tuple[int, str, str, float]]:
        shares = sorted(self.replay.task_shares().items())
        return [(self.env_steps, "replay_share", task, share) for task, share in shares]

    def close(self) -> None:
        """See `Run.close`."""
        if isinstance(self.collector, Beside):
            self.collector.close()
        super().close()

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """See `Run.kept`."""
        policy, targets = ckpt.split_state(self.agent)
        tensors, collector = self.collector.state_dict()
        return policy, targets | self.learner.state() | tensors, {"collector": collector}

    def restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        """See `Run.restore`."""
        targets = {k: v for k, v in kept.trainer.items() if k.startswith(ckpt.TARGETS)}
        self.agent.load_state_dict(kept.policy | targets)
        self.learner.restore(kept.trainer, kept.state["updates"])
        self.replay.load(folder)
        self.collector.load_state_dict(kept.trainer, kept.state["collector"])
        self._tell()

    def _write_checkpoint(self, folder: Path, unfinished: bool = True) -> None:
        if unfinished:
            self.replay.save(folder)
        else:
            self._publish_replay(folder.with_name("replay"))
        super()._write_checkpoint(folder, unfinished)

    def save(self) -> None:
        """Checkpoint this epoch, then drop the oldest and the shards that none needs."""
        super().save()
        oldest = json.loads((self._checkpoints()[0] / "replay.json").read_text())["oldest_shard"]
        self.replay.discard_shards(oldest)

    def _publish_replay(self, folder: Path) -> None:
        """The scratch folder stays complete."""
        folder.mkdir()
        self.replay.publish(folder)
