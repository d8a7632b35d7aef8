"""The life of a run, whatever trains it: epochs, evaluations, checkpoints, the published folder.

A trainer subclasses `Run`, saying what an epoch is and what a checkpoint must hold; `carry_out`
takes such a run from its configuration to the finished folder.
"""

import fcntl
import json
import platform
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from amago2.config.schema import ProbeConfig, RunConfig, RunConfigT, load_as
from amago2.env.make import make_vector_env
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.files import refuse_foreign, sums, write_atomically
from amago2.rollout.acting import Policy
from amago2.rollout.collector import FinishedRollout
from amago2.rollout.evaluate import WHOLE_ROLLOUT, evaluate
from amago2.rollout.probe import probe
from amago2.training import checkpoint as ckpt
from amago2.training import logs as telemetry
from amago2.training.resources import computing, cpu_name


def carry_out(
    make: Callable[[RunConfigT, Path], "Run"],
    config: RunConfigT,
    out: Path,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Carry a run out, or go on with an unfinished one, and publish it in the folder `out`.

    Returns `out`. A finished run is left alone. `make` gives the run of a configuration in its
    scratch folder, which lies on the same file system and keeps what an interrupted run needs to
    go on; `provenance` is added to the record.

    Raises `ConfigError` for parameters that cannot work, and `RunError` if another process trains
    this run, the machine is too small, or a loss or weight is not finite (the last checkpoint
    stays).
    """
    scratch = scratch or default_scratch(out)
    if (out / "record.json").exists():
        _require_same(config, out / "config.yaml")
        shutil.rmtree(scratch, ignore_errors=True)
        return out
    refuse_foreign(out, PUBLISHED)
    scratch.mkdir(parents=True, exist_ok=True)
    with _locked(scratch):
        begun = (scratch / "config.yaml").exists()
        if begun:
            _require_same(config, scratch / "config.yaml")
        try:
            with computing(config), closing(make(config, scratch)) as run:
                write_atomically(scratch / "config.yaml", config.to_yaml())
                begun = True
                run.resume_or_begin()
                run.loop()
                run.publish(out, provenance or {})
        finally:
            if not begun:
                shutil.rmtree(scratch)
        shutil.rmtree(scratch)
    return out


def default_scratch(out: Path) -> Path:
    """Where a run lives until it is published in `out`."""
    return out.with_name(f".{out.name}.scratch")


def _require_same(config: RunConfig, path: Path) -> None:
    if load_as(type(config), path).hash != config.hash:
        raise ConfigError(
            f"{path.parent}: holds a run of another configuration (see {path}); "
            "choose another folder or delete that one"
        )


@contextmanager
def _locked(scratch: Path) -> Iterator[None]:
    """Hold the run's lock, which any death of the process releases."""
    with (scratch / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{scratch}: another process is training this run") from None
        yield


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave: finished training rollouts, means of metrics, seconds spent."""

    finished: list[FinishedRollout]
    metrics: Mapping[str, Tensor]
    """Scalars, or vectors whose index becomes the key."""
    collecting_s: float
    learning_s: float
    """The same as `collecting_s` where the two are not apart."""


class Run(ABC):
    """One run in its scratch folder."""

    agent: Policy
    """Acts in the evaluations."""
    BULK: ClassVar[tuple[str, ...]] = ("checkpoint",)
    """Published folders; their files' digests are in the record."""

    def __init__(self, config: RunConfig, scratch: Path, actors: int | None = None) -> None:
        self.config, self.scratch = config, scratch
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.clock, self.cpu_clock = time.monotonic(), time.process_time()
        self.cpu_before = 0.0
        self.wall_before, self.resumptions = 0.0, -1
        self.epoch = 0
        self.envs = make_vector_env(config.env, actors or config.collector.actors)
        self.eval_envs: dict[str, VectorEnv] = {}
        self.gpu = telemetry.Gpu(config.device == "cuda")
        self.progress = telemetry.Progress(scratch / "progress.json", config.collector.epochs)
        self.tables: dict[str, tuple[str, ...]] = {
            "metrics": telemetry.METRICS,
            "evaluations": telemetry.EVALUATIONS,
            "compute": telemetry.COMPUTE,
        }
        if config.evaluation.probe is not None:
            self.tables["probe"] = telemetry.PROBE
        self.logs: dict[str, telemetry.Log] = {}

    @cached_property
    def board(self) -> telemetry.TensorBoard:
        """Made when it is first used: a run that cannot start leaves no file of it."""
        return telemetry.TensorBoard(self.scratch / "tensorboard")

    # --- what a trainer adds --------------------------------------------------------------------

    @property
    @abstractmethod
    def updates(self) -> int:
        """Gradient steps so far."""

    @property
    @abstractmethod
    def parameters(self) -> Sequence[Tensor]:
        """What is learned."""

    @abstractmethod
    def begin(self) -> None:
        """Start every actor's first rollout."""

    @abstractmethod
    def advance(self) -> Epoch:
        """Collect and learn for one epoch, number `self.epoch`."""

    @abstractmethod
    def kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """For a checkpoint: tensors that acting needs, those only training needs, plain values."""

    @abstractmethod
    def restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        """Take over what `kept` gave; `folder` is the checkpoint's."""

    def close(self) -> None:
        """Close environments and writers."""
        self.board.close()
        for envs in (self.envs, *self.eval_envs.values()):
            envs.close()

    @property
    def env_steps(self) -> int:
        """Environment steps of all actors so far."""
        c = self.config.collector
        return self.epoch * c.steps_per_epoch * c.actors

    # --- the loop -------------------------------------------------------------------------------

    def loop(self) -> None:
        """Epochs until the last, then the final evaluation."""
        c = self.config
        while self.epoch < c.collector.epochs:
            env_steps, updates = self.env_steps, self.updates
            done = self.advance()
            self.epoch += 1
            self._log_metrics(done.finished, done.metrics)
            self._log_compute(self.env_steps - env_steps, self.updates - updates, done)
            last = self.epoch == c.collector.epochs
            if self.epoch % c.evaluation.every == 0 or last:
                self._evaluate(c.evaluation.final_rollouts if last else c.evaluation.rollouts)
            if self.epoch % c.checkpoint.every == 0 and not last:
                self.save()
            self.report("collect")
        if c.evaluation.probe is not None:
            self._probe(c.evaluation.probe)

    def report(self, phase: str, within: float = 0.0) -> None:
        """Tell whoever watches; `within` is how far the present epoch is, 0 to 1."""
        self.progress.report(phase, self.epoch, self.env_steps, self.updates, within)

    def last_good(self) -> str:
        """Where to go on from after a failure."""
        kept = self._checkpoints()
        return f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"

    def _eval_sets(self, evaluation: int) -> Iterator[tuple[str, VectorEnv, int]]:
        """Name and environments of each evaluation set, and the evaluation's own number."""
        for i, name in enumerate(self.config.env.eval_sets):
            if name not in self.eval_envs:
                actors = self.config.evaluation.actors
                self.eval_envs[name] = make_vector_env(self.config.env, actors, name)
            yield name, self.eval_envs[name], evaluation * len(self.config.env.eval_sets) + i

    def _probe(self, settings: ProbeConfig) -> None:
        if not isinstance(self.agent, torch.nn.Module):
            return  # nothing that could be remembered: another library's policy
        for name, envs, counter in self._eval_sets(self.epoch + 1):
            seed, how = self.config.seed, (settings.rollouts, settings.l2_penalty)
            for row in probe(self.agent, envs, name, *how, seed, counter):
                values = {**asdict(row), "step": self.env_steps}
                self.logs["probe"].append([tuple(values[key] for key in telemetry.PROBE)])

    def _evaluate(self, rollouts: int) -> None:
        for name, envs, counter in self._eval_sets(self.epoch):
            rows = evaluate(self.agent, envs, name, rollouts, self.config.seed, counter)
            self.logs["evaluations"].append(telemetry.evaluation_rows(rows, self.env_steps))
            returns = [row.value for row in rows if row.attempt == WHOLE_ROLLOUT]
            self.board.scalars(self.env_steps, {f"evaluation/{name}": float(np.mean(returns))})

    def _log_metrics(self, finished: list[FinishedRollout], metrics: Mapping[str, Tensor]) -> None:
        rows: list[tuple[Any, ...]] = [(self.env_steps, "updates", "", self.updates)]
        for name, mean in metrics.items():
            values = mean.flatten().tolist()
            keys = [""] if mean.ndim == 0 else range(len(values))
            rows += [(self.env_steps, name, k, v) for k, v in zip(keys, values, strict=True)]
        for task in sorted({f.task for f in finished}):
            values = [f.value for f in finished if f.task == task]
            rows.append((self.env_steps, "train_return", task, float(np.mean(values))))
        rows += self._more_metrics()
        self.logs["metrics"].append(rows)
        self.board.scalars(
            self.env_steps,
            {f"{n}/{k}" if k != "" else n: v for _, n, k, v in rows if n != "bin_histogram"},
        )

    def _more_metrics(self) -> list[tuple[int, str, str, float]]:
        """Further rows of `metrics.csv`: step, name, key, value."""
        return []

    def _log_compute(self, steps: int, updates: int, epoch: Epoch) -> None:
        values = {
            "steps_per_s": steps / max(epoch.collecting_s, 1e-9),
            "updates_per_s": updates / max(epoch.learning_s, 1e-9),
            "rss_bytes": float(telemetry.rss_bytes()),
            **self.gpu.sample(),
        }
        now = self.wall_before + time.monotonic() - self.clock
        self.logs["compute"].append(
            (round(now, 3), self.env_steps, self.updates, name, value)
            for name, value in values.items()
        )

    # --- keeping --------------------------------------------------------------------------------

    def resume_or_begin(self) -> None:
        """Go on from the newest checkpoint that is whole, or start."""
        for folder in reversed(self._checkpoints()):
            try:
                self._restore(ckpt.read(folder, config=type(self.config)), folder)
                print(f"going on from epoch {self.epoch} of {self.config.collector.epochs}")
                return
            except ckpt.CheckpointError as error:
                print(f"{error}; trying the one before it", file=sys.stderr)
        self.resumptions = 0
        self.logs = {
            name: telemetry.Log(self.scratch / f"{name}.csv", columns)
            for name, columns in self.tables.items()
        }
        self.begin()

    def _checkpoints(self) -> list[Path]:
        return sorted((self.scratch / "checkpoints").glob("epoch-*"))

    def _restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        state = kept.state
        self.restore(kept, folder)
        self.epoch, self.started = state["epoch"], state["started"]
        self.wall_before, self.cpu_before = state["wall_s"], state["cpu_s"]
        self.resumptions = state["resumptions"] + 1
        self.progress.resume(self.epoch)
        self.logs = {
            name: telemetry.Log(self.scratch / f"{name}.csv", columns, state["logs"][name])
            for name, columns in self.tables.items()
        }

    def _write_checkpoint(self, folder: Path, unfinished: bool = True) -> None:
        """Write to `folder`; a finished run's holds no clock: equal runs are equal bytes."""
        policy, trainer, values = self.kept()
        spaces = ckpt.describe_spaces(self.envs.observations, self.envs.actions)
        state = {"epoch": self.epoch, "updates": self.updates, **values}
        if unfinished:
            state |= {
                "started": self.started,
                "resumptions": self.resumptions,
                "wall_s": self.wall_before + time.monotonic() - self.clock,
                "cpu_s": self.cpu_before + time.process_time() - self.cpu_clock,
                "logs": {name: log.length for name, log in self.logs.items()},
            }
        ckpt.write(folder, ckpt.Checkpoint(self.config, spaces, policy, trainer, state))

    def save(self) -> None:
        """Checkpoint this epoch, then drop the oldest."""
        temporary = self.scratch / "checkpoint.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self._write_checkpoint(temporary)
        final = self.scratch / "checkpoints" / f"epoch-{self.epoch:08}"
        final.parent.mkdir(exist_ok=True)
        ckpt.publish(temporary, final)
        for old in self._checkpoints()[: -self.config.checkpoint.keep]:
            shutil.rmtree(old)

    def publish(self, out: Path, provenance: Mapping[str, Any]) -> None:
        """Put the finished run into `out`, the record last.

        The scratch folder stays complete until then.
        """
        self.board.close()
        out.mkdir(parents=True, exist_ok=True)
        staged = self.scratch / "publish"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        self._write_checkpoint(staged / "checkpoint", unfinished=False)
        shutil.copytree(self.scratch / "tensorboard", staged / "tensorboard")
        for name in ("config.yaml", *(f"{table}.csv" for table in self.tables)):
            shutil.copyfile(self.scratch / name, staged / name)
        for path in sorted(staged.iterdir()):
            ckpt.publish(path, out / path.name)
        write_atomically(
            out / "record.json", json.dumps(self._record(out, provenance), indent=1) + "\n"
        )

    def _record(self, out: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
        wall = self.wall_before + time.monotonic() - self.clock
        gpu = {"name": self.gpu.name} if self.gpu.name else None
        return {
            "hash": self.config.hash,
            "training_version": self.config.training_version,
            **{key: provenance.get(key) for key in PROVENANCE},
            "device": self.config.device,
            "cpu": cpu_name(),
            "threads": self.config.threads,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "numpy", "gymnasium")},
            },
            "started": self.started,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "resumptions": self.resumptions,
            "wall_s": round(wall, 3),
            "cpu_s": round(self.cpu_before + time.process_time() - self.cpu_clock, 3),
            "env_steps": self.env_steps,
            "updates": self.updates,
            "parameters": sum(p.numel() for p in self.parameters),
            "peak_rss_bytes": telemetry.peak_rss_bytes(),
            "gpu": gpu,
            "continued_from": self._origin(),
            **{f"{bulk}_sha256": sums(out / bulk) for bulk in self.BULK},
        }

    def _origin(self) -> Any:
        """What `amago2.training.initialise` noted, if this run went on from a finished one."""
        path = self.scratch / "origin.json"
        return json.loads(path.read_text()) if path.exists() else None


PUBLISHED = {"config.yaml", "checkpoint", "replay", "tensorboard", "checkpoint.dvc", "replay.dvc"}
PUBLISHED |= {f"{table}.csv" for table in ("metrics", "evaluations", "compute", "probe")}
"""What may lie in a run's folder before it is finished."""
PROVENANCE = (
    "git_commit",
    "git_dirty",
    "lock_sha256",
    "container_digest",
    "parameters_sha256",
    "planned_s",
)
"""Keys of a record that the caller knows and the trainer does not."""
