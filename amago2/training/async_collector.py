"""Collecting beside learning: a process of its own has the actors and a copy of the policy.

In an epoch it acts with the weights as they were when the epoch began, while the updates sample
what earlier epochs collected; its trajectories enter replay when both are done. So no result
depends on how fast either is, and between epochs there is nothing more to keep than without it.
"""

import multiprocessing
import signal
import time
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.distributed import end_with_parent
from amago2.env.make import make_vector_env
from amago2.env.spaces import Array
from amago2.env.subprocess_env import SHUTDOWN_TIMEOUT_S
from amago2.errors import RunError
from amago2.replay.buffer import Replay
from amago2.rollout.collector import Collector, FinishedRollout
from amago2.training.checkpoint import make_agent, split_state
from amago2.training.resources import computing


class Collected(NamedTuple):
    """What an epoch's collecting gave."""

    trajectories: list[tuple[Array, str]]
    """Records (T + 1) and task of each, for replay."""
    finished: list[FinishedRollout]
    seconds: float


class Beside:
    """A `Collector` in another process, which computes while this one does something else."""

    def __init__(self, config: AmagoConfig) -> None:
        """Start it. Raises `RunError`, as all its methods do, if an environment fails there."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, config))
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def reset(self) -> None:
        """See `Collector.reset`."""
        self._ask("reset")
        self._receive()

    def collect(self, epoch: int, agent: Agent) -> None:
        """Let it collect an epoch's steps, with the weights that `agent` has now."""
        self._ask("collect", epoch, _packed(split_state(agent)[0]))

    def collected(self, replay: Replay) -> Collected:
        """Wait for what `collect` gives, and let its trajectories into replay."""
        found = Collected(*self._receive())
        for tokens, task in found.trajectories:
            replay.add(tokens, task)
        return found

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Collector.state_dict`."""
        self._ask("state_dict")
        tensors, values = self._receive()
        return load(tensors), values

    def load_state_dict(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """See `Collector.load_state_dict`."""
        own = {k: v for k, v in tensors.items() if k.startswith(("memory.", "history."))}
        self._ask("load_state_dict", _packed(own), values)
        self._receive()

    def _ask(self, name: str, *arguments: Any) -> None:
        with suppress(OSError):  # it is gone: `_receive` says how
            self._pipe.send((name, arguments))

    def _receive(self) -> Any:
        try:
            error, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(SHUTDOWN_TIMEOUT_S)
            raise RunError(
                f"the collector's process died with exit code {self._process.exitcode}; out of "
                "memory, or a crash of a simulator"
            ) from None
        if error:
            raise RunError(error)
        return answer

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._pipe.close()
        self._process.join(SHUTDOWN_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _packed(tensors: dict[str, Tensor]) -> bytes:
    return save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})


# --- in the other process -------------------------------------------------------------------------


class _Waiting:
    """In replay's place: trajectories that wait to enter it."""

    def __init__(self) -> None:
        self.trajectories: list[tuple[Array, str]] = []

    def add(self, tokens: Array, task: str) -> None:
        """Keep a copy of a trajectory of T + 1 records."""
        self.trajectories.append((tokens.copy(), task))


class _Worker:
    """What `Beside` asks for, by name."""

    def __init__(self, collector: Collector, agent: Agent, waiting: _Waiting) -> None:
        self.collector, self.agent, self.waiting = collector, agent, waiting
        self.reset = collector.reset

    def collect(self, epoch: int, weights: bytes) -> Collected:
        began = time.monotonic()
        self.agent.load_state_dict(load(weights), strict=False)  # targets never act
        finished = self.collector.collect(epoch)
        trajectories, self.waiting.trajectories = self.waiting.trajectories, []
        return Collected(trajectories, finished, time.monotonic() - began)

    def state_dict(self) -> tuple[bytes, dict[str, Any]]:
        tensors, values = self.collector.state_dict()
        return _packed(tensors), values

    def load_state_dict(self, tensors: bytes, values: dict[str, Any]) -> None:
        self.collector.load_state_dict(load(tensors), values)


def _work(pipe: Connection, config: AmagoConfig) -> None:
    """Answer until the pipe closes."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which then closes us
    if config.device == "cuda":
        torch.cuda.set_device(own_gpu(config, torch.cuda.device_count()))
    gone = (EOFError, BrokenPipeError, ConnectionResetError)  # the trainer is
    with suppress(*gone):
        try:
            _serve(pipe, config)
        except gone:
            raise
        except RunError as error:
            pipe.send((str(error), None))
        except Exception as error:
            pipe.send((f"collecting failed: {type(error).__name__}: {error}", None))


def _serve(pipe: Connection, config: AmagoConfig) -> None:
    with computing(config), closing(make_vector_env(config.env, config.collector.actors)) as envs:
        agent, waiting = make_agent(config, envs.observations, envs.actions), _Waiting()
        worker = _Worker(Collector(config, envs, agent, waiting), agent, waiting)
        pipe.send((None, None))
        while True:
            name, arguments = pipe.recv()
            pipe.send((None, getattr(worker, name)(*arguments)))


def own_gpu(config: AmagoConfig, visible: int) -> int:
    """The device after those of the ranks, if there is one; else the first."""
    ranks = config.learner.processes or 1
    return ranks if visible > ranks else 0
