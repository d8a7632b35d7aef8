"""Collecting while learning: another process has the actors and a copy of the policy.

In an epoch it acts with the weights of the epoch's beginning, while the updates sample what earlier
epochs collected; its trajectories enter replay when both are done. So no result depends on how fast
either is, and between epochs there is nothing more to checkpoint than without it.
"""

import multiprocessing
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from amago2.agent.agent import Agent, make_agent
from amago2.config.schema import AmagoConfig
from amago2.env.failures import told
from amago2.env.make import make_vector_env
from amago2.env.spaces import Array
from amago2.env.subprocess_env import SHUTDOWN_TIMEOUT_S
from amago2.errors import ConfigError, RunError, sentence
from amago2.processes import (
    end_with_parent,
    leave_signals_to_trainer,
    leave_threads_behind,
    raise_died,
    refuse_second_start,
    restore_search,
    start,
)
from amago2.replay.buffer import Replay
from amago2.rollout.collector import Collector, FinishedRollout
from amago2.rollout.replaying import Replayed
from amago2.training.checkpoint import split_state
from amago2.training.torch_settings import torch_settings


class CollectedEpoch(NamedTuple):
    """What an epoch of collecting gave."""

    trajectories: list[tuple[Array, str]]
    """Records (T + 1,) and task of each, for replay."""
    finished: list[FinishedRollout]
    seconds: float


class AsyncCollector:
    """A `Collector` in another process, which works while this one does something else.

    Its methods raise `RunError` if an environment fails there, or the process dies.
    """

    def __init__(self, config: AmagoConfig) -> None:
        """Start the process."""
        refuse_second_start()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run_worker, args=(theirs, config))
        start(self._process)
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def reset(self) -> None:
        """See `Collector.reset`."""
        self._send("reset")
        self._receive()

    def collect_async(self, epoch: int, agent: Agent) -> None:
        """Start collecting an epoch's steps with the present weights of `agent`."""
        self._send("collect", epoch, _packed(split_state(agent)[0]))

    def collect_wait(self, replay: Replay) -> CollectedEpoch:
        """Wait for what `collect_async` started, and add its trajectories to `replay`."""
        found = CollectedEpoch(*self._receive())
        for tokens, task in found.trajectories:
            replay.add(tokens, task)
        return found

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Collector.state_dict`."""
        self._send("state_dict")
        tensors, values = self._receive()
        return load(tensors), values

    def load_state_dict(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Replayed:
        """See `Collector.load_state_dict`."""
        own = {k: v for k, v in tensors.items() if k.startswith(("memory.", "history."))}
        self._send("load_state_dict", _packed(own), dict(values))
        return Replayed(*self._receive())

    def _send(self, method: str, *arguments: Any) -> None:
        with suppress(OSError):  # the process is gone: `_receive` reports how it ended
            self._pipe.send((method, arguments))

    def _receive(self) -> Any:
        try:
            error, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise_died(self._process, "the collector's process", SHUTDOWN_TIMEOUT_S)
        if error:
            raise error
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.join(SHUTDOWN_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})


# --- in the other process -------------------------------------------------------------------------


class _TrajectoryList:
    """In replay's place: the trajectories of an epoch, until they can enter it."""

    def __init__(self) -> None:
        self.trajectories: list[tuple[Array, str]] = []

    def add(self, tokens: Array, task: str) -> None:
        """Keep a copy of a trajectory of T + 1 records."""
        self.trajectories.append((tokens.copy(), task))


class _Worker:
    """The methods that `AsyncCollector` calls by name."""

    def __init__(self, collector: Collector, agent: Agent, collected: _TrajectoryList) -> None:
        self.collector, self.agent, self.collected = collector, agent, collected
        self.reset = collector.reset

    def collect(self, epoch: int, weights: bytes) -> CollectedEpoch:
        started = time.monotonic()
        self.agent.load_state_dict(load(weights), strict=False)  # target networks never act
        finished = self.collector.collect(epoch)
        trajectories, self.collected.trajectories = self.collected.trajectories, []
        return CollectedEpoch(trajectories, finished, time.monotonic() - started)

    def state_dict(self) -> tuple[bytes, dict[str, Any]]:
        tensors, values = self.collector.state_dict()
        return _packed(tensors), values

    def load_state_dict(self, tensors: bytes, values: dict[str, Any]) -> Replayed:
        return self.collector.load_state_dict(load(tensors), values)


def _run_worker(pipe: Connection, config: AmagoConfig) -> None:
    """Serve calls until the pipe closes."""
    end_with_parent()
    restore_search()
    leave_signals_to_trainer()
    if config.device == "cuda":
        torch.cuda.set_device(collector_gpu(config, torch.cuda.device_count()))
    disconnected = (EOFError, BrokenPipeError, ConnectionResetError)  # the trainer is gone
    with suppress(*disconnected):
        try:
            _serve(pipe, config)
        except disconnected:
            raise
        except (ConfigError, RunError) as error:
            pipe.send((error, None))
        except BaseException as error:
            pipe.send((RunError(f"collecting failed: {sentence(error) or told(error)}"), None))
    leave_threads_behind()


def _serve(pipe: Connection, config: AmagoConfig) -> None:
    def report(sentence: str) -> None:
        pipe.send((RunError(sentence), None))

    with (
        torch_settings(config),
        closing(make_vector_env(config.env, config.collector.actors, report=report)) as envs,
    ):
        agent, collected = make_agent(config, envs.observations, envs.actions), _TrajectoryList()
        worker = _Worker(Collector(config, envs, agent, collected), agent, collected)
        pipe.send((None, None))
        while True:
            method, arguments = pipe.recv()
            pipe.send((None, getattr(worker, method)(*arguments)))


def collector_gpu(config: AmagoConfig, visible: int) -> int:
    """Number of the GPU after those of the learner's processes, if there is one; else the first."""
    learners = config.learner.processes or 1
    return learners if visible > learners else 0
