"""The training loop, whatever is trained: epochs, evaluations, logs, checkpoints.

A trainer subclasses `Trainer` to say what an epoch is and what a checkpoint must hold;
`amago2.training.run.run_trainer` takes it from its configuration to the published folder.
"""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from amago2.config.schema import ProbeConfig, RunConfig
from amago2.env.make import make_vector_env
from amago2.env.stored_spaces import check_eval_set, check_same_spaces, describe_spaces
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.files import make_folder, sync
from amago2.printing import say, warn
from amago2.rollout.acting import Policy
from amago2.rollout.collector import FinishedRollout
from amago2.rollout.evaluate import WHOLE_ROLLOUT, evaluate
from amago2.rollout.probe import probe
from amago2.rollout.replaying import Replayed
from amago2.training import best, logs
from amago2.training import checkpoint as ckpt
from amago2.training.callbacks import Callbacks
from amago2.training.hardware import GpuMonitor, rss_bytes
from amago2.training.progress import Progress
from amago2.training.state import UnfinishedState, check_state, check_tensors, check_values
from amago2.training.stopping import StopRequest
from amago2.training.trackers import Tracker


@dataclass(frozen=True)
class EpochResult:
    """What an epoch gave: finished training rollouts, means of metrics, seconds spent."""

    finished: list[FinishedRollout]
    metrics: Mapping[str, Tensor]
    """Scalars (), or vectors (K,) whose index becomes the key."""
    collecting_s: float
    learning_s: float
    """The same as `collecting_s` where the two cannot be told apart."""


class TrainerState(NamedTuple):
    """What a checkpoint keeps of a trainer: tensors for acting, tensors for training, values."""

    policy: dict[str, Tensor]
    trainer: dict[str, Tensor]
    values: dict[str, Any]


class Trainer(ABC):
    """One run in its scratch folder."""

    agent: Policy
    """Acts in the evaluations."""

    def __init__(self, config: RunConfig, scratch: Path, actors: int | None = None) -> None:
        """Make the environments of `actors` actors; by default, as many as are configured."""
        self.config, self.scratch = config, scratch
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._clock, self._cpu_clock = time.monotonic(), time.process_time()
        self._wall_before, self._cpu_before = 0.0, 0.0  # seconds before this process
        self.resumptions = -1
        self.replayed = Replayed(0, exact=True)  # in all resumptions together
        self.epoch = 0
        self.envs = make_vector_env(config.env, actors or config.collector.actors)
        self.eval_envs: dict[str, VectorEnv] = {}
        self.gpu = GpuMonitor(config.device == "cuda")
        self.progress = Progress(scratch / "progress.json", config.collector.epochs)
        self.tables: dict[str, tuple[str, ...]] = {
            "metrics": logs.METRICS,
            "evaluations": logs.EVALUATIONS,
            "compute": logs.COMPUTE,
        }
        if config.evaluation.probe is not None:
            self.tables["probe"] = logs.PROBE
        self.logs: dict[str, logs.CsvLog] = {}
        self.found = best.Evaluations()  # if the policy of the best one is kept
        self.callbacks = Callbacks(config.callbacks or ())
        self.trackers: list[Tracker] = []
        """Besides TensorBoard."""

    @cached_property
    def tensorboard(self) -> logs.TensorBoard:
        """Made on first use, so that a run that cannot start leaves no file of it."""
        return logs.TensorBoard(self.scratch / "tensorboard")

    # --- what a subclass defines ----------------------------------------------------------------

    @property
    @abstractmethod
    def updates(self) -> int:
        """Gradient steps so far."""

    @property
    @abstractmethod
    def parameters(self) -> Sequence[Tensor]:
        """The learned parameters."""

    @abstractmethod
    def start(self) -> None:
        """Start every actor's first rollout."""

    @abstractmethod
    def train_epoch(self) -> EpochResult:
        """Collect and learn for one epoch, number `self.epoch`."""

    @abstractmethod
    def state_dict(self) -> TrainerState:
        """What a checkpoint must keep so that the run continues to the same bits."""

    @abstractmethod
    def load_state_dict(self, checkpoint: ckpt.Checkpoint, folder: Path) -> Replayed:
        """Load what `state_dict` gave; `folder` is the checkpoint's.

        Unfinished rollouts are replayed. Returns whether they repeated.
        """

    def extra_metrics(self) -> list[tuple[int, str, str, float]]:
        """Further rows of `metrics.csv`: step, name, key, value."""
        return []

    def extra_record(self) -> dict[str, Any]:
        """Further keys of the record of the finished run: where what it started with is from."""
        return {}

    # --- the loop -------------------------------------------------------------------------------

    def train(self, stop: StopRequest | None = None) -> None:
        """Run epochs until the last, then the final evaluation and the probe.

        Where it is asked to stop, it ends the process after an epoch, with a checkpoint.
        """
        c = self.config
        while self.epoch < c.collector.epochs:
            env_steps, updates = self.env_steps, self.updates
            result = self.train_epoch()
            self.epoch += 1
            self._log_metrics(result.finished, result.metrics)
            self._log_compute(self.env_steps - env_steps, self.updates - updates, result)
            last = self.epoch == c.collector.epochs
            if self.epoch % c.evaluation.every == 0 or last:
                self._evaluate(c.evaluation.final_rollouts if last else c.evaluation.rollouts)
            if (self.epoch % c.checkpoint.every == 0 or stop) and not last:
                self.save_checkpoint()
                if stop:
                    stop.stop(self.epoch, c.collector.epochs)
            self.report("collect")
        if c.evaluation.probe is not None:
            self._probe(c.evaluation.probe)

    @property
    def env_steps(self) -> int:
        """Environment steps of all actors so far."""
        c = self.config.collector
        return self.epoch * c.steps_per_epoch * c.actors

    @property
    def step(self) -> int:
        """What the rows of tables and trackers are counted by: environment steps."""
        return self.env_steps

    @property
    def resumed(self) -> str:
        """Whether the run is the one that it would have been without an interruption."""
        if not self.resumptions:
            return "never"
        return "bit-exact" if self.replayed.exact else "not bit-exact"

    @property
    def wall_s(self) -> float:
        """Seconds that the run has taken so far, in all its processes one after the other."""
        return self._wall_before + time.monotonic() - self._clock

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the run has taken so far, likewise."""
        return self._cpu_before + time.process_time() - self._cpu_clock

    def report(self, phase: str, within: float = 0.0) -> None:
        """Report progress; `within` is the share of the present epoch that is done, 0 to 1."""
        self.progress.report(phase, self.epoch, self.env_steps, self.updates, within)

    def close(self) -> None:
        """Close the environments."""
        for envs in (self.envs, *self.eval_envs.values()):
            envs.close()
        for tracker in self.trackers:
            tracker.close()

    # --- evaluation -----------------------------------------------------------------------------

    def _eval_sets(self, evaluation: int) -> Iterator[tuple[str, VectorEnv, int]]:
        """Name, environments and counter for the random streams of each evaluation set."""
        for i, name in enumerate(self.config.env.eval_sets):
            if name not in self.eval_envs:
                actors = self.config.evaluation.actors
                self.eval_envs[name] = envs = make_vector_env(self.config.env, actors, name)
                made_for = describe_spaces(self.envs.observations, self.envs.actions)
                check_eval_set(name, made_for, envs.observations, envs.actions)
            yield name, self.eval_envs[name], evaluation * len(self.config.env.eval_sets) + i

    def _evaluate(self, rollouts: int) -> None:
        for i, (name, envs, counter) in enumerate(self._eval_sets(self.epoch)):
            rows = evaluate(self.agent, envs, name, rollouts, self.config.seed, counter)
            self.logs["evaluations"].append(logs.evaluation_rows(rows, self.step))
            whole = [row for row in rows if row.attempt == WHOLE_ROLLOUT]
            returns = [(row.task, row.value) for row in whole if row.metric == "return"]
            mean = float(np.mean([value for _, value in returns]))
            by_task = best.mean_by_task(returns)
            each = {f"evaluation/{name}/{task}": value for task, value in by_task.items()}
            self._track({f"evaluation/{name}": mean, **(each if len(each) > 1 else {})})
            self.callbacks.evaluated(self.step, name, rows)
            self.progress.score = f", return {mean:.4g} ({name})"
            keep = i == 0 and self.config.checkpoint.best
            if keep and self.found.add(by_task):
                self._keep(mean)

    def _keep(self, mean_return: float) -> None:
        """Keep the policy as it is, in the place of the one that was the best so far."""
        policy, _, _ = self.state_dict()
        spaces = describe_spaces(self.envs.observations, self.envs.actions)
        state = {"epoch": self.epoch, "updates": self.updates, "mean_return": mean_return}
        best.keep(self.scratch, ckpt.Checkpoint(self.config, spaces, policy, {}, state))

    def _probe(self, config: ProbeConfig) -> None:
        if not isinstance(self.agent, torch.nn.Module):
            return  # another library's policy, which has no memory to probe
        for name, envs, counter in self._eval_sets(self.epoch + 1):
            seed, settings = self.config.seed, (config.rollouts, config.l2_penalty)
            for row in probe(self.agent, envs, name, *settings, seed, counter):
                values = {**asdict(row), "step": self.step}
                self.logs["probe"].append([tuple(values[key] for key in logs.PROBE)])

    # --- logs -----------------------------------------------------------------------------------

    def _log_metrics(self, finished: list[FinishedRollout], metrics: Mapping[str, Tensor]) -> None:
        rows: list[tuple[Any, ...]] = [(self.step, "updates", "", self.updates)]
        for name, mean in metrics.items():
            values = mean.flatten().tolist()
            keys = [""] if mean.ndim == 0 else range(len(values))
            rows += [(self.step, name, k, v) for k, v in zip(keys, values, strict=True)]
        for task in sorted({f.task for f in finished}):
            values = [f.value for f in finished if f.task == task]
            rows.append((self.step, "train_return", task, float(np.mean(values))))
        rows += self.extra_metrics()
        self.logs["metrics"].append(rows)
        self._track(
            {f"{n}/{k}" if k != "" else n: v for _, n, k, v in rows if n != "bin_histogram"}
        )

    def _track(self, values: Mapping[str, float]) -> None:
        told: list[Tracker] = [self.tensorboard, *self.trackers]
        for tracker in told:
            tracker.scalars(self.step, values)

    def _log_compute(self, steps: int, updates: int, result: EpochResult) -> None:
        values = {
            "steps_per_s": steps / max(result.collecting_s, 1e-9),
            "updates_per_s": updates / max(result.learning_s, 1e-9),
            "rss_bytes": float(rss_bytes()),
            **self.gpu.sample(),
        }
        now = round(self.wall_s, 3)
        self.logs["compute"].append(
            (now, self.env_steps, self.updates, name, value) for name, value in values.items()
        )

    # --- checkpoints ----------------------------------------------------------------------------

    def resume_or_start(self) -> None:
        """Continue from the newest checkpoint that is whole, or start if there is none.

        Raises `CheckpointError` if there are checkpoints and none of them is whole.
        """
        folders = self.checkpoints()
        for folder in reversed(folders):
            try:
                self._resume(ckpt.read(folder, config=type(self.config)), folder)
                say(f"continuing from epoch {self.epoch} of {self.config.collector.epochs}")
                return
            except ckpt.CheckpointError as error:
                warn(f"{error}; trying the checkpoint before it")
        if folders:
            raise ckpt.CheckpointError(
                f"{self.scratch}: no checkpoint of this run can be used (see above); restore the "
                "damaged file, or delete this folder to start the run again"
            )
        self.resumptions = 0
        self.logs = {
            name: logs.CsvLog(self.scratch / f"{name}.csv", columns)
            for name, columns in self.tables.items()
        }
        self.start()

    def checkpoints(self) -> list[Path]:
        """Folders of the run's checkpoints, oldest first."""
        return sorted((self.scratch / "checkpoints").glob("epoch-*"))

    def describe_last_checkpoint(self) -> str:
        """Where a run that failed will continue, for its error message."""
        found = self.checkpoints()
        return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"

    def _resume(self, checkpoint: ckpt.Checkpoint, folder: Path) -> None:
        envs, state = self.envs, checkpoint.state
        check_same_spaces(self.scratch, checkpoint.spaces, envs.observations, envs.actions)
        self._check(checkpoint, folder)
        found = self.load_state_dict(checkpoint, folder)
        dropped, exact = state["dropped_rollouts"] + found.dropped, state["exact"] and found.exact
        self.replayed = Replayed(dropped, exact)
        if not found.exact:
            actors = self.config.collector.actors
            warn(
                f"{self.config.env.name} does not repeat itself from its seed and actions: "
                f"{found.dropped} of {actors} unfinished rollouts are dropped and others "
                "begun; the run is not what it would have been without the interruption"
            )
        self.epoch, self.started = state["epoch"], state["started"]
        self._wall_before, self._cpu_before = state["wall_s"], state["cpu_s"]
        self.resumptions = state["resumptions"] + 1
        self.progress.resume(self.epoch)
        self.logs = {
            name: logs.CsvLog.resume(self.scratch / f"{name}.csv", saved)
            for name, saved in state["logs"].items()
        }
        if self.config.checkpoint.best:
            first = next(iter(self.config.env.eval_sets))
            self.found = best.Evaluations.of(self.scratch / "evaluations.csv", first)

    def _check(self, checkpoint: ckpt.Checkpoint, folder: Path) -> None:
        """Check that a checkpoint fits this run and its logs, before anything is changed.

        Raises `CheckpointError`.
        """
        policy, trainer, values = self.state_dict()
        check_tensors(folder / "policy.safetensors", checkpoint.policy, policy)
        check_tensors(folder / "trainer.safetensors", checkpoint.trainer, trainer)
        path, state = folder / "state.json", checkpoint.state
        check_state(path, {"spaces": checkpoint.spaces, **state}, UnfinishedState)
        check_values(path, {key: state.get(key) for key in values}, values)
        if state["logs"].keys() != self.tables.keys():
            raise ckpt.CheckpointError(f"{path}: logs: must be {', '.join(self.tables)}")
        try:
            for name, saved in state["logs"].items():
                logs.check_log(self.scratch / f"{name}.csv", saved)
        except (RunError, ConfigError) as error:
            raise ckpt.CheckpointError(str(error)) from None

    def write_checkpoint(self, folder: Path, finished: bool = False) -> None:
        """Write to `folder`. A finished run's has no clock in it: equal runs are equal bytes."""
        policy, trainer, values = self.state_dict()
        spaces = describe_spaces(self.envs.observations, self.envs.actions)
        state = {"epoch": self.epoch, "updates": self.updates, **values}
        if not finished:
            state |= {
                "started": self.started,
                "resumptions": self.resumptions,
                "dropped_rollouts": self.replayed.dropped,
                "exact": self.replayed.exact,
                "wall_s": self.wall_s,
                "cpu_s": self.cpu_s,
                "logs": {name: log.save() for name, log in self.logs.items()},
            }
            sync(self.scratch)  # the logs' own names
        ckpt.write(folder, ckpt.Checkpoint(self.config, spaces, policy, trainer, state))

    def save_checkpoint(self) -> None:
        """Write a checkpoint of this epoch, then drop the oldest."""
        temporary = self.scratch / "checkpoint.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self.write_checkpoint(temporary)
        final = self.scratch / "checkpoints" / f"epoch-{self.epoch:08}"
        make_folder(final.parent)
        ckpt.move_into_place(temporary, final)
        for old in self.checkpoints()[: -self.config.checkpoint.keep]:
            shutil.rmtree(old)
        self.callbacks.saved(self.step, final)
