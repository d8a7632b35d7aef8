"""Training: collect, learn, evaluate, checkpoint; resumable at any moment to the same bits."""

import fcntl
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amago2 import checkpoint as ckpt
from amago2 import telemetry
from amago2.collect import Collector, Finished, make_replay
from amago2.config import Config, load
from amago2.evaluate import WHOLE, evaluate
from amago2.files import sha256, write_text
from amago2.layers import ConfigError, RunError
from amago2.learn import Learner, NotFinite
from amago2.resources import check_resources, cpu_name, keep_freed_memory
from amago2.vector_env import VectorEnv
from amago2.workers import start

PUBLISHED = ("metrics.csv", "evaluations.csv", "compute.csv", "config.yaml")


def train(
    config: Config,
    out: Path,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Train one run, or go on with an unfinished one, and publish it in the folder `out`.

    Returns `out`. A finished run is left alone. `scratch`, on the same file system, keeps what an
    interrupted run needs to go on; `provenance` is added to the record.

    Raises `ConfigError` for parameters that cannot work, and `RunError` if another process trains
    this run, the machine is too small, or a loss or weight is not finite (the last checkpoint
    stays).
    """
    scratch = scratch or out.with_name(f".{out.name}.scratch")
    if (out / "record.json").exists():
        _require_same(config, out / "config.yaml")
        shutil.rmtree(scratch, ignore_errors=True)
        return out
    scratch.mkdir(parents=True, exist_ok=True)
    with _locked(scratch):
        begun = (scratch / "config.yaml").exists()
        if begun:
            _require_same(config, scratch / "config.yaml")
        try:
            with _settings(config), closing(Run(config, scratch)) as run:
                write_text(scratch / "config.yaml", config.to_yaml())
                begun = True
                run.resume_or_begin()
                run.loop()
                run.publish(out, provenance or {})
        finally:
            if not begun:
                shutil.rmtree(scratch)
        shutil.rmtree(scratch)
    return out


def _require_same(config: Config, path: Path) -> None:
    if load(path).hash != config.hash:
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


@contextmanager
def _settings(config: Config) -> Iterator[None]:
    """Thread count and deterministic algorithms, as long as training lasts."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', but PyTorch finds no CUDA device here; use --set device=cpu"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_freed_memory()
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(config.threads)
    # On CUDA some operations have no deterministic form: they warn instead of stopping the run.
    torch.use_deterministic_algorithms(True, warn_only=config.device == "cuda")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


class Run:
    """One run in its scratch folder."""

    def __init__(self, config: Config, scratch: Path) -> None:
        self.config, self.scratch = config, scratch
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.clock, self.cpu_clock = time.monotonic(), time.process_time()
        self.cpu_before = 0.0
        self.wall_before, self.resumptions = 0.0, -1
        self.epoch = 0
        self.envs = start(config.env, config.collector.actors)
        self.eval_envs: dict[str, VectorEnv] = {}
        check_resources(config, self.envs, scratch)
        self.agent = ckpt.make_agent(config, self.envs.observations, self.envs.actions)
        self.replay = make_replay(config, self.envs, scratch / "replay")
        self.collector = Collector(config, self.envs, self.agent, self.replay)
        self.learner = Learner(config, self.agent, self.replay)
        self.gpu = telemetry.Gpu(config.device == "cuda")
        self.board = telemetry.TensorBoard(scratch / "tensorboard")
        self.progress = telemetry.Progress(scratch / "progress.json", config.collector.epochs)
        self.logs: dict[str, telemetry.Log] = {}

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
            started, env_steps = time.monotonic(), self.env_steps
            finished = self.collector.collect(self.epoch)
            collected = time.monotonic()
            ready = self.epoch >= c.collector.learn_after and len(self.replay)
            updates = c.learner.updates_per_epoch if ready else 0
            metrics = self._learn(updates)
            self.epoch += 1
            self._log_metrics(finished, metrics)
            self._log_compute(self.env_steps - env_steps, collected - started, updates, collected)
            last = self.epoch == c.collector.epochs
            if self.epoch % c.evaluation.every == 0 or last:
                self._evaluate(c.evaluation.final_rollouts if last else c.evaluation.rollouts)
            if self.epoch % c.checkpoint.every == 0 and not last:
                self.save()
            self.progress.report("collect", self.epoch, self.env_steps, self.learner.updates)

    def _learn(self, updates: int) -> dict[str, torch.Tensor]:
        """Updates in slices, so that progress is seen."""
        if not updates:
            return {}
        total: dict[str, torch.Tensor] = {}
        done = 0
        while done < updates:
            slice_ = min(25, updates - done)
            try:
                means = self.learner.learn(slice_)
            except NotFinite as error:
                raise NotFinite(f"{error}; {self._last_good()}") from None
            for name, mean in means.items():
                total[name] = total.get(name, torch.zeros_like(mean)) + mean * (slice_ / updates)
            done += slice_
            self.progress.report(
                "learn", self.epoch, self.env_steps, self.learner.updates, done / updates
            )
        return total

    def _last_good(self) -> str:
        kept = self._checkpoints()
        return f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"

    def _evaluate(self, rollouts: int) -> None:
        for i, name in enumerate(self.config.env.eval_sets):
            if name not in self.eval_envs:
                actors = self.config.evaluation.actors
                self.eval_envs[name] = start(self.config.env, actors, name)
            counter = self.epoch * len(self.config.env.eval_sets) + i
            rows = evaluate(
                self.agent, self.eval_envs[name], name, rollouts, self.config.seed, counter
            )
            self.logs["evaluations"].append(telemetry.evaluation_rows(rows, self.env_steps))
            returns = [row.value for row in rows if row.attempt == WHOLE]
            self.board.scalars(self.env_steps, {f"evaluation/{name}": float(np.mean(returns))})

    def _log_metrics(self, finished: list[Finished], metrics: dict[str, torch.Tensor]) -> None:
        rows: list[tuple[Any, ...]] = [(self.env_steps, "updates", "", self.learner.updates)]
        for name, mean in metrics.items():
            values = mean.flatten().tolist()
            keys = [""] if mean.ndim == 0 else range(len(values))
            rows += [(self.env_steps, name, k, v) for k, v in zip(keys, values, strict=True)]
        for task in sorted({f.task for f in finished}):
            values = [f.value for f in finished if f.task == task]
            rows.append((self.env_steps, "train_return", task, float(np.mean(values))))
        for task, share in sorted(self.replay.task_shares().items()):
            rows.append((self.env_steps, "replay_share", task, share))
        self.logs["metrics"].append(rows)
        self.board.scalars(
            self.env_steps,
            {f"{n}/{k}" if k != "" else n: v for _, n, k, v in rows if n != "bin_histogram"},
        )

    def _log_compute(self, steps: int, collecting: float, updates: int, collected: float) -> None:
        learning = time.monotonic() - collected
        values = {
            "steps_per_s": steps / max(collecting, 1e-9),
            "updates_per_s": updates / max(learning, 1e-9),
            "rss_bytes": float(telemetry.rss_bytes()),
            **self.gpu.sample(),
        }
        now = self.wall_before + time.monotonic() - self.clock
        self.logs["compute"].append(
            (round(now, 3), self.env_steps, self.learner.updates, name, value)
            for name, value in values.items()
        )

    # --- keeping --------------------------------------------------------------------------------

    def resume_or_begin(self) -> None:
        """Go on from the newest checkpoint that is whole, or start."""
        for folder in reversed(self._checkpoints()):
            try:
                self._restore(ckpt.read(folder), folder)
                print(f"going on from epoch {self.epoch} of {self.config.collector.epochs}")
                return
            except ckpt.CheckpointError as error:
                print(f"{error}; trying the one before it", file=sys.stderr)
        self.resumptions = 0
        self.logs = {
            name: telemetry.Log(self.scratch / f"{name}.csv", columns)
            for name, columns in self._columns().items()
        }
        self.collector.begin()

    @staticmethod
    def _columns() -> dict[str, tuple[str, ...]]:
        return {
            "metrics": telemetry.METRICS,
            "evaluations": telemetry.EVALUATIONS,
            "compute": telemetry.COMPUTE,
        }

    def _checkpoints(self) -> list[Path]:
        return sorted((self.scratch / "checkpoints").glob("epoch-*"))

    def _restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        state = kept.state
        self.agent.load_state_dict(
            kept.policy | {k: v for k, v in kept.trainer.items() if k.startswith(ckpt.TARGETS)}
        )
        self.learner.restore(kept.trainer, state["updates"])
        self.replay.load(folder)
        self.collector.restore(kept.trainer, state["collector"])
        self.epoch, self.started = state["epoch"], state["started"]
        self.wall_before, self.cpu_before = state["wall_s"], state["cpu_s"]
        self.resumptions = state["resumptions"] + 1
        self.progress.resume(self.epoch)
        self.logs = {
            name: telemetry.Log(self.scratch / f"{name}.csv", columns, state["logs"][name])
            for name, columns in self._columns().items()
        }

    def _write_checkpoint(self, folder: Path, unfinished: bool = True) -> None:
        """Write to `folder`; a finished run's holds no clock: equal runs are equal bytes."""
        policy, targets = ckpt.split_state(self.agent)
        tensors, collector = self.collector.state()
        spaces = ckpt.describe_spaces(self.envs.observations, self.envs.actions)
        state = {
            "epoch": self.epoch,
            "updates": self.learner.updates,
            "collector": collector,
        }
        if unfinished:
            state |= {
                "started": self.started,
                "resumptions": self.resumptions,
                "wall_s": self.wall_before + time.monotonic() - self.clock,
                "cpu_s": self.cpu_before + time.process_time() - self.cpu_clock,
                "logs": {name: log.length for name, log in self.logs.items()},
            }
        trainer = targets | self.learner.state() | tensors
        ckpt.write(folder, ckpt.Checkpoint(self.config, spaces, policy, trainer, state))

    def save(self) -> None:
        """Checkpoint this epoch, then drop the oldest and the shards that none needs."""
        temporary = self.scratch / "checkpoint.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self.replay.save(temporary)
        self._write_checkpoint(temporary)
        final = self.scratch / "checkpoints" / f"epoch-{self.epoch:08}"
        final.parent.mkdir(exist_ok=True)
        ckpt.publish(temporary, final)
        for old in self._checkpoints()[: -self.config.checkpoint.keep]:
            shutil.rmtree(old)
        oldest = json.loads((self._checkpoints()[0] / "replay.json").read_text())["oldest_shard"]
        self.replay.discard_shards(oldest)

    def publish(self, out: Path, provenance: Mapping[str, Any]) -> None:
        """Put the finished run into `out`, the record last.

        The scratch folder stays complete until then: shards are linked, not moved.
        """
        self.board.close()
        out.mkdir(parents=True, exist_ok=True)
        staged = self.scratch / "publish"
        shutil.rmtree(staged, ignore_errors=True)
        (staged / "replay").mkdir(parents=True)
        self.replay.save(staged / "replay")
        self.replay.link_shards(staged / "replay")
        self._write_checkpoint(staged / "checkpoint", unfinished=False)
        shutil.copytree(self.scratch / "tensorboard", staged / "tensorboard")
        for name in PUBLISHED:
            shutil.copyfile(self.scratch / name, staged / name)
        for path in sorted(staged.iterdir()):
            ckpt.publish(path, out / path.name)
        write_text(out / "record.json", json.dumps(self._record(out, provenance), indent=1) + "\n")

    def _record(self, out: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
        wall = self.wall_before + time.monotonic() - self.clock
        gpu = {"name": self.gpu.name, "joules": self.gpu.joules()} if self.gpu.name else None
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
            "updates": self.learner.updates,
            "parameters": sum(p.numel() for p in self.learner.parameters),
            "peak_rss_bytes": telemetry.peak_rss_bytes(),
            "gpu": gpu,
            "checkpoint_sha256": _sums(out / "checkpoint"),
            "replay_sha256": _sums(out / "replay"),
        }


PROVENANCE = ("git_commit", "git_dirty", "lock_sha256", "container_digest", "parameters_sha256")
"""Keys of a record that the caller knows and the trainer does not."""


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}
