"""Training of an AMAGO-2 agent: collect, then learn; resumable at any moment to the same bits."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, zeros_like

from amago2.agent.agent import Agent, make_agent
from amago2.config.documents import read_yaml
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build
from amago2.distributed import SingleProcess, launch
from amago2.env.stored_spaces import describe_spaces
from amago2.errors import ConfigError, RunError
from amago2.files import read_json
from amago2.printing import warn
from amago2.replay.local_copies import LocalCopies, copies_folder
from amago2.replay.stored import read_state
from amago2.rollout.collector import Collector, NoCollector, make_replay
from amago2.rollout.replaying import Replayed
from amago2.training import checkpoint as ckpt
from amago2.training.async_collector import AsyncCollector
from amago2.training.continue_run import check_origin, continue_run
from amago2.training.data import open_data, origins
from amago2.training.initial_weights import NOTE, load_initial_weights
from amago2.training.learner import Learner, NonFiniteError
from amago2.training.rank_worker import work
from amago2.training.resources import check_resources
from amago2.training.run import run_trainer
from amago2.training.scratch import default_scratch
from amago2.training.task_shares import measure
from amago2.training.trackers import make_trackers
from amago2.training.trainer import EpochResult, Trainer, TrainerState

UPDATES_PER_REPORT = 25
"""Updates between two reports of progress."""


def train(
    config: AmagoConfig | Mapping[str, Any] | Path | str,
    out: Path | str,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    continue_from: Path | None = None,
    local_disk: Path | None = None,
    track: Sequence[str] = (),
) -> Path:
    """Train a run, or continue an unfinished one, and publish it in `out`: see `run_trainer`.

    The configuration may be a mapping such as a file of it holds, or the path of that file. With
    `continue_from`, a finished run's folder, it starts where that run ended: see `continue_run`.
    Where the run's folders lie on a network's disk, replay is sampled from copies in `local_disk`,
    a folder of this machine. `track` names services that are told of metrics: see
    `amago2.training.trackers`.
    """
    config, out = _config_of(config), Path(out)

    def make_trainer(config: AmagoConfig, scratch: Path) -> AmagoTrainer:
        trackers = make_trackers(track, config)
        trainer = AmagoTrainer(config, scratch, group, local_disk)
        trainer.trackers = trackers
        return trainer

    with launch(config.learner.processes, work) as group:
        fill = partial(continue_run, config, continue_from) if continue_from else None
        check_origin(continue_from, out, scratch or default_scratch(out))
        return run_trainer(make_trainer, config, out, scratch, provenance, fill)


def _config_of(given: AmagoConfig | Mapping[str, Any] | Path | str) -> AmagoConfig:
    """Raises `ConfigError` for a mapping or file that is no configuration."""
    if isinstance(given, AmagoConfig):
        return given
    if isinstance(given, Mapping):
        return build([Layer("configuration", given)])
    return build([Layer(str(given), read_yaml(given))])


class AmagoTrainer(Trainer):
    """Off-policy training: a collector fills the replay that the learner samples."""

    config: AmagoConfig
    agent: Agent

    def __init__(
        self,
        config: AmagoConfig,
        scratch: Path,
        group: SingleProcess | None = None,
        local_disk: Path | None = None,
    ) -> None:
        # If another process or none steps actors, this one needs an environment for its spaces.
        here = config.online and not config.collector.asynchronous
        started_in = Path.cwd()  # which an environment may change
        super().__init__(config, scratch, None if here else 1)
        self.group = group or SingleProcess()
        check_resources(config, self.envs, scratch)
        self.agent = make_agent(config, self.envs.observations, self.envs.actions)
        if config.initial_weights and not self.checkpoints():
            load_initial_weights(self.agent, config, scratch, started_in)
        self.copies = LocalCopies(copies_folder(local_disk, scratch)) if local_disk else None
        self.replay = make_replay(config, self.envs, scratch / "replay", self.copies)
        self.sampled = open_data(config, self.envs, self.replay, scratch, started_in)
        self.learner = Learner(config, self.agent, self.sampled, self.group)
        self.collector: Collector | AsyncCollector | NoCollector
        if not config.online:
            self.collector = NoCollector()
        elif config.collector.asynchronous:
            self.collector = AsyncCollector(config)
        else:
            self.collector = Collector(config, self.envs, self.agent, self.replay)

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.learner.updates

    @property
    def env_steps(self) -> int:
        """See `Trainer.env_steps`; 0 if nothing is collected."""
        return super().env_steps if self.config.online else 0

    @property
    def step(self) -> int:
        """See `Trainer.step`; updates if nothing is collected."""
        return self.env_steps if self.config.online else self.updates

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The learned parameters."""
        return self.learner.parameters

    def start(self) -> None:
        """Start every actor's first rollout."""
        self.collector.reset()
        self._broadcast_state()

    def _broadcast_state(self) -> None:
        """Send the other ranks what they start with; see `amago2.training.rank_worker`."""
        spaces = describe_spaces(self.envs.observations, self.envs.actions)
        config = self.config.model_dump(mode="json")
        values = {"config": config, "spaces": spaces, "updates": self.updates}
        self.group.broadcast_state(values, self.agent.state_dict() | self.learner.state_dict())
        self.group.use_device(self.config.device)

    def train_epoch(self) -> EpochResult:
        """Collect, then learn; or both at once."""
        if isinstance(self.collector, AsyncCollector):
            self.collector.collect_async(self.epoch, self.agent)
            metrics, learning_s = self._learn()
            found = self.collector.collect_wait(self.replay)
            return EpochResult(found.finished, metrics, found.seconds, learning_s)
        started = time.monotonic()
        finished = self.collector.collect(self.epoch)
        collecting_s = time.monotonic() - started
        metrics, learning_s = self._learn()
        return EpochResult(finished, metrics, collecting_s, learning_s)

    def _learn(self) -> tuple[dict[str, Tensor], float]:
        """Make an epoch's updates; none during warm-up, or before the first finished rollout.

        Returns the mean of each metric, and seconds.
        """
        started = time.monotonic()
        due = self.epoch >= self.config.collector.warmup_epochs
        if due and not len(self.sampled):
            self._warn_of_no_end()
        ready = due and len(self.sampled)
        metrics = self._update(self.config.learner.updates_per_epoch if ready else 0)
        return metrics, time.monotonic() - started

    def _warn_of_no_end(self) -> None:
        """Say after 4, 8, 16, ... epochs that no rollout has ended, so that nothing is learned."""
        epochs = self.epoch + 1
        if epochs >= 4 and epochs & (epochs - 1) == 0:
            env, steps = self.config.env, epochs * self.config.collector.steps_per_epoch
            warn(
                f"amago2: warning: {env.name}: no rollout has ended in {steps:,} steps of "
                f"each actor, so nothing is learned yet; env.max_episode_steps "
                f"({env.max_episode_steps or 'not set'}) truncates them"
            )

    def _update(self, updates: int) -> dict[str, Tensor]:
        """Make updates, reporting progress now and then. Returns the mean of each metric."""
        means: dict[str, Tensor] = {}
        done = 0
        while done < updates:
            count = min(UPDATES_PER_REPORT, updates - done)
            try:
                metrics = self.learner.learn(count)
            except NonFiniteError as error:
                raise NonFiniteError(f"{error}; {self.describe_last_checkpoint()}") from None
            for name, mean in metrics.items():
                means[name] = means.get(name, zeros_like(mean)) + mean * (count / updates)
            done += count
            self.report("learn", done / updates)
        return means

    def extra_metrics(self) -> list[tuple[int, str, str, float]]:
        """See `Trainer.extra_metrics`: each task's share of replay, and what `measure` finds."""
        shares = sorted(self.sampled.task_shares().items())
        rows = [("replay_share", task, share) for task, share in shares]
        evaluated = self.epoch % self.config.evaluation.every == 0
        if self.updates and (evaluated or self.epoch == self.config.collector.epochs):
            rows += measure(self.config, self.agent, self.sampled, self.parameters, self.updates)
        return [(self.step, *row) for row in rows]

    def extra_record(self) -> dict[str, Any]:
        """See `Trainer.extra_record`: the initial weights and the data."""
        found: dict[str, Any] = {}
        if self.config.initial_weights:
            found["initial_weights"] = read_json(self.scratch / NOTE)
        if self.config.data:
            found["data"] = origins(self.config, self.scratch)
        return found

    def close(self) -> None:
        """See `Trainer.close`."""
        if isinstance(self.collector, AsyncCollector):
            self.collector.close()
        if self.copies:
            self.copies.close()
        super().close()

    # --- checkpoints ----------------------------------------------------------------------------

    def state_dict(self) -> TrainerState:
        """See `Trainer.state_dict`."""
        policy, targets = ckpt.split_state(self.agent)
        tensors, values = self.collector.state_dict()
        trainer = targets | self.learner.state_dict() | tensors
        return TrainerState(policy, trainer, {"collector": values})

    def load_state_dict(self, checkpoint: ckpt.Checkpoint, folder: Path) -> Replayed:
        """See `Trainer.load_state_dict`."""
        try:
            self.replay.load(folder)
        except (RunError, ConfigError) as error:
            raise ckpt.CheckpointError(str(error)) from None
        targets = {k: v for k, v in checkpoint.trainer.items() if k.startswith(ckpt.TARGETS)}
        self.agent.load_state_dict(checkpoint.policy | targets)
        self.learner.load_state_dict(checkpoint.trainer, checkpoint.state["updates"])
        collector = checkpoint.state["collector"]
        replayed = self.collector.load_state_dict(checkpoint.trainer, collector)
        self._broadcast_state()
        return replayed

    def write_checkpoint(self, folder: Path, finished: bool = False) -> None:
        """See `Trainer.write_checkpoint`; a finished run's replay is a folder beside it."""
        if finished:
            replay = folder.with_name("replay")
            replay.mkdir()
            self.replay.publish(replay)
        else:
            self.replay.save(folder)
        super().write_checkpoint(folder, finished)

    def save_checkpoint(self) -> None:
        """Write a checkpoint of this epoch, then drop the oldest and the shards only it needed."""
        super().save_checkpoint()
        self.replay.discard_shards(read_state(self.checkpoints()[0]).oldest_shard)
