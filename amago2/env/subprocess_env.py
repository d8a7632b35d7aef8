"""Environments in worker processes: many each, or one each for simulators that allow only one.

Observations, actions and rewards lie in memory that all processes share; a pipe to each worker
carries one byte that starts a step, and as JSON the infos of rollouts and attempts that start or
end.
Results do not depend on the number of processes.
"""

import json
import mmap
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from amago2.env.boundary import Attempt
from amago2.env.failures import hung, told
from amago2.env.spaces import ActionSpec, Array
from amago2.env.stored_spaces import describe_spaces
from amago2.env.vector_env import Make, Origin, VectorEnv, place
from amago2.errors import ConfigError, RunError
from amago2.processes import (
    LostError,
    end_with_parent,
    leave_signals_to_trainer,
    leave_threads_behind,
    raise_died,
    refuse_second_start,
    restore_search,
    start,
)

STEP, RESET, OK = b"s", b"r", b"k"
ERRORS: dict[bytes, type[ConfigError | RunError]] = {
    b"c": ConfigError,
    b"e": RunError,
    b"l": LostError,
}
"""By the first byte of an answer that tells of one."""
RETURNED = ("reward", "terminated", "truncated")
ALIGN = 64
START_TIMEOUT_S = 120.0
"""How long a worker may take to import what it needs, before it makes environments."""
WAITING_SLACK_S = 1.0
"""For a worker to say by itself that an environment hangs."""
SHUTDOWN_TIMEOUT_S = 5.0
"""How long a worker may take to end by itself."""


def _layout(
    observations: Mapping[str, gym.spaces.Box], actions: ActionSpec, rows: int
) -> np.dtype[Any]:
    """One record that holds the arrays of all rows, each aligned to a cache line."""
    stored, flag = actions.stored, (np.dtype(bool), ())
    fields: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        f"observation.{key}": (box.dtype, box.shape) for key, box in observations.items()
    }
    fields |= {"action": (stored.base, stored.shape), "reward": (np.dtype(np.float64), ())}
    fields |= {"terminated": flag, "truncated": flag, "active": flag}
    fields |= {"at": (np.dtype(np.int32), ())}  # its first entry of a worker: the row being called
    formats = [np.dtype((dtype, (rows, *shape))) for dtype, shape in fields.values()]
    ends = np.cumsum([-(-each.itemsize // ALIGN) * ALIGN for each in formats]).tolist()
    names, offsets = list(fields), [0, *ends[:-1]]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": ends[-1]})


def _attach(descriptor: int, layout: np.dtype[Any]) -> dict[str, Array]:
    """Arrays (rows, ...) by name in shared memory; the descriptor is closed."""
    memory = mmap.mmap(descriptor, layout.itemsize)
    os.close(descriptor)
    record: Array = np.ndarray((), layout, memory)
    return {name: record[name] for name in layout.names or ()}


class SubprocessVectorEnv(VectorEnv):
    """A `VectorEnv` whose environments live in other processes."""

    def __init__(
        self, make: Make, count: int, processes: int, origin: Origin | None = None
    ) -> None:
        """Start workers; `make(row)` must be picklable. Raises `RunError` if one cannot start."""
        refuse_second_start()
        context = multiprocessing.get_context("spawn")
        self.origin = origin or Origin("the environment")
        shares = np.array_split(np.arange(count), min(processes, count))
        self._worker = np.repeat(np.arange(len(shares)), [len(rows) for rows in shares])
        self._call: str | None = "constructor"
        self._called_row: Array | None = None
        self.steps = np.zeros(count, np.int64)
        self._seeds: list[int | None] = [None] * count
        self.labels: list[str] = [""] * count
        self.attempts: list[Attempt | None] = [None] * count
        self.measured: list[dict[str, float]] = [{} for _ in range(count)]
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for worker, rows in enumerate(shares):
            ours, theirs = context.Pipe()
            known = self.origin._replace(first=int(rows[0]), worker=worker)
            arguments = (theirs, make, rows.tolist(), known)
            process = context.Process(target=_work, args=arguments, daemon=True)
            start(process)
            theirs.close()
            if self.origin.step_timeout_s is not None:
                _limit_waiting(ours, self.origin.step_timeout_s + WAITING_SLACK_S)
            self._pipes.append(ours)
            self._processes.append(process)
        try:
            self._share(count)
        except BaseException:
            self.close()
            raise

    def _share(self, count: int) -> None:
        described = []
        for worker in range(len(self._pipes)):
            self._receive(worker)
            with self._alive(worker):
                described.append(self._pipes[worker].recv())
        expected = describe_spaces(*described[0][:2])
        for worker, other in enumerate(described):
            if describe_spaces(*other[:2]) != expected:
                raise ConfigError(
                    f"{self.origin.name}: the spaces in worker {worker} ({other[0]}, {other[1]}) "
                    f"are not those in worker 0 ({described[0][0]}, {described[0][1]})"
                )
        spaces = described[0]
        self.observations, self.actions, self.default_task, self._tasks = spaces[:4]
        self.max_episode_steps = spaces[4]
        layout = _layout(self.observations, self.actions, count)
        descriptor = os.memfd_create("environments")
        os.ftruncate(descriptor, layout.itemsize)
        for worker, pipe in enumerate(self._pipes):
            with self._alive(worker):
                pipe.send(layout)
                reduction.send_handle(pipe, descriptor, self._processes[worker].pid)
        arrays = _attach(descriptor, layout)
        self._observation = {key: arrays[f"observation.{key}"] for key in self.observations}
        self.returned = tuple(arrays[name] for name in RETURNED)
        self._action, self._active, self._called_row = (
            arrays["action"],
            arrays["active"],
            arrays["at"],
        )
        self.labels = [self.default_task] * count

    @property
    def observation(self) -> dict[str, Array]:
        """Observations (N, ...) by key, as of the last reset or step."""
        return self._observation

    @property
    def tasks(self) -> tuple[str, ...]:
        """The environments' tasks; empty if they name none."""
        return self._tasks

    def reset(
        self,
        rows: Sequence[int],
        seeds: Sequence[int],
        options: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Start a rollout in each of some environments."""
        asked: dict[int, list[tuple[int, int, Any]]] = {}
        for row, seed, chosen in zip(rows, seeds, options or [None] * len(rows), strict=True):
            self.steps[row], self._seeds[row], self.measured[row] = 0, seed, {}
            share = asked.setdefault(int(self._worker[row]), [])
            share.append((int(row), int(seed), chosen and dict(chosen)))
        self._call = "reset"
        for worker, share in asked.items():
            self._send(worker, RESET + json.dumps(share).encode())
        for worker, share in asked.items():
            labels = json.loads(self._receive(worker))
            for (row, _, _), label in zip(share, labels, strict=True):
                self.labels[row] = label

    def step(self, actions: Array, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """See `VectorEnv.step`."""
        chosen = slice(None) if rows is None else rows
        self.steps[chosen] += 1
        self.attempts = [None] * len(self)
        self._active[:] = rows is None
        self._active[chosen] = True
        self._action[chosen] = actions
        workers = range(len(self._pipes)) if rows is None else set(self._worker[rows].tolist())
        self._call = "step"
        for worker in workers:
            self._send(worker, STEP)
        for worker in workers:
            if answer := self._receive(worker):
                attempts, labels, measured = json.loads(answer)
                for row, *values in attempts:
                    self.attempts[row] = Attempt(*values)
                for row, label in labels:
                    self.labels[row] = label
                for row, values in measured:
                    self.measured[row] = values
        return self._results(rows)

    def _send(self, worker: int, message: bytes) -> None:
        with self._alive(worker):
            self._pipes[worker].send_bytes(message)

    @contextmanager
    def _alive(self, worker: int) -> Iterator[None]:
        """Say how a worker died whose pipe is found closed."""
        try:
            yield
        except (EOFError, OSError):
            self._died(worker)

    def _receive(self, worker: int) -> bytes:
        """A worker's answer. Raises what it says went wrong, or that it died or hangs."""
        called, waited = None, 0.0
        limit = self.origin.step_timeout_s or 0.0
        while True:
            try:
                answer = self._pipes[worker].recv_bytes()
                break
            except BlockingIOError:  # nothing for as long as one call may take
                waited += limit + WAITING_SLACK_S
                now = self._called(worker)
                starting = START_TIMEOUT_S + limit * np.sum(self._worker == worker)
                if waited > starting if now is None else now == called:
                    raise LostError(hung(self._place_of(worker), limit)) from None
                called = now
            except (EOFError, OSError):
                self._died(worker)
        if kind := ERRORS.get(answer[:1]):
            raise kind(answer[1:].decode())
        return answer[1:]

    def _died(self, worker: int) -> NoReturn:
        process = f"{self._place_of(worker)}: its process"
        raise_died(self._processes[worker], process, SHUTDOWN_TIMEOUT_S)

    def _called(self, worker: int) -> int | None:
        """The actor that a worker calls, or called last."""
        first = int(np.flatnonzero(self._worker == worker)[0])
        return None if self._called_row is None else first + int(self._called_row[first])

    def _place_of(self, worker: int) -> str:
        """The environment that a worker calls, or called last."""
        row = self._called(worker)
        if row is None:
            row = int(np.flatnonzero(self._worker == worker)[0])
        origin = self.origin._replace(worker=worker)
        task = self.labels[row] if self._call == "step" else None
        return place(origin, row, self._call or "", int(self.steps[row]), task, self._seeds[row])

    def close(self) -> None:
        """Have every worker close its environments and end."""
        for pipe in self._pipes:
            pipe.close()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _limit_waiting(pipe: Connection, seconds: float) -> None:
    """Have the kernel end a wait for an answer: reading then raises `BlockingIOError`."""
    whole, part = divmod(seconds, 1)
    with socket.socket(fileno=os.dup(pipe.fileno())) as same:
        timeout = struct.pack("ll", int(whole), int(part * 1e6))
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)


# --- in the worker -------------------------------------------------------------------------------


def _work(pipe: Connection, make: Make, rows: list[int], origin: Origin) -> None:
    """Serve until the pipe closes, which the death of the other side does too."""
    end_with_parent()
    restore_search()
    leave_signals_to_trainer()

    gone = (EOFError, BrokenPipeError, ConnectionResetError)  # the trainer, that is

    def report(sentence: str) -> None:
        """Called by the watchdog's thread too, by when the trainer may have given up itself."""
        with suppress(*gone):
            pipe.send_bytes(b"l" + sentence.encode())

    envs: VectorEnv | None = None
    with suppress(*gone):
        try:
            envs = VectorEnv(lambda i: make(rows[i]), len(rows), origin, report)
            pipe.send_bytes(OK)
            described = envs.observations, envs.actions, envs.default_task, envs.tasks
            pipe.send((*described, envs.max_episode_steps))
            layout = pipe.recv()
            _serve(pipe, envs, rows, _attach(reduction.recv_handle(pipe), layout))
        except gone:
            raise
        except ConfigError as error:
            pipe.send_bytes(b"c" + str(error).encode())
        except BaseException as error:
            sentence = str(error) if isinstance(error, RunError) else told(error)
            pipe.send_bytes(b"e" + sentence.encode())
    if envs is not None:
        envs.close()
    leave_threads_behind()


def _serve(pipe: Connection, envs: VectorEnv, rows: list[int], arrays: dict[str, Array]) -> None:
    """Answer every message: a step of the active rows, or resets."""
    mine = {name: array[rows[0] : rows[-1] + 1] for name, array in arrays.items()}
    # The environments write straight into the shared arrays.
    envs.share(
        {key: mine[f"observation.{key}"] for key in envs.observations},
        tuple(mine[name] for name in RETURNED),
        mine["at"],
    )
    action, active = mine["action"], mine["active"]
    while True:
        message = pipe.recv_bytes()
        if message == STEP:
            local = None if active.all() else np.flatnonzero(active)
            envs.step(action if local is None else action[local], local)
            ended = [(rows[i], *each) for i, each in enumerate(envs.attempts) if each]
            labels = [(rows[i], envs.labels[i]) for i in envs.relabelled]
            envs.relabelled.clear()
            measured = [(rows[i], each) for i, each in enumerate(envs.measured) if each]
            told_of = (ended, labels, measured)
            pipe.send_bytes(OK + (json.dumps(told_of).encode() if any(told_of) else b""))
        else:
            asked, seeds, options = zip(*json.loads(message[1:]), strict=True)
            begun = [row - rows[0] for row in asked]
            envs.reset(begun, seeds, options)
            envs.relabelled.clear()
            pipe.send_bytes(OK + json.dumps([envs.labels[i] for i in begun]).encode())
