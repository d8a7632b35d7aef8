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
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from amago2.env.spaces import ActionSpec, Array
from amago2.env.vector_env import Info, VectorEnv
from amago2.errors import RunError

Make = Callable[[int], gym.Env[Any, Any]]
STEP, RESET, OK, ERROR = b"s", b"r", b"k", b"e"
RETURNED = ("reward", "terminated", "truncated")
ALIGN = 64
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

    def __init__(self, make: Make, count: int, processes: int) -> None:
        """Start workers; `make(row)` must be picklable. Raises `RunError` if one cannot start."""
        context = multiprocessing.get_context("spawn")
        shares = np.array_split(np.arange(count), min(processes, count))
        self._worker = np.repeat(np.arange(len(shares)), [len(rows) for rows in shares])
        self._doing = ["starting"] * count
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for rows in shares:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, make, rows.tolist()), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.infos = [{} for _ in range(count)]
        self._begun: list[Info] = [{} for _ in range(count)]
        try:
            self._share(count)
        except BaseException:
            self.close()
            raise

    def _share(self, count: int) -> None:
        for worker in range(len(self._pipes)):
            self._receive(worker)
            described = self._pipes[worker].recv()
        self.observations, self.actions, self.default_task, self._tasks = described
        layout = _layout(self.observations, self.actions, count)
        descriptor = os.memfd_create("environments")
        os.ftruncate(descriptor, layout.itemsize)
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(layout)
            reduction.send_handle(pipe, descriptor, process.pid)
        arrays = _attach(descriptor, layout)
        self.observation = {key: arrays[f"observation.{key}"] for key in self.observations}
        self.returned = tuple(arrays[name] for name in RETURNED)
        self._action, self._active = arrays["action"], arrays["active"]

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
            self._doing[row] = f"resetting with seed {seed}"
            share = asked.setdefault(int(self._worker[row]), [])
            share.append((int(row), int(seed), chosen and dict(chosen)))
        for worker, share in asked.items():
            self._send(worker, RESET + json.dumps(share).encode())
        for worker, share in asked.items():
            infos = json.loads(self._receive(worker))
            for (row, seed, _), info in zip(share, infos, strict=True):
                self._begun[row] = self.infos[row] = info
                self._doing[row] = f"task {self.task(row)}, seed {seed}"

    def step(self, actions: Array, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """See `VectorEnv.step`; between attempts' ends, `infos` are those of the reset."""
        chosen = slice(None) if rows is None else rows
        self._active[:] = rows is None
        self._active[chosen] = True
        self._action[chosen] = actions
        workers = range(len(self._pipes)) if rows is None else set(self._worker[rows].tolist())
        for worker in workers:
            self._send(worker, STEP)
        for row in range(len(self)) if rows is None else rows.tolist():
            self.infos[row] = self._begun[row]
        for worker in workers:
            if answer := self._receive(worker):
                for row, info in json.loads(answer):
                    self.infos[row] = info
        return self._results(rows)

    def _send(self, worker: int, message: bytes) -> None:
        try:
            self._pipes[worker].send_bytes(message)
        except OSError:
            self._died(worker)

    def _receive(self, worker: int) -> bytes:
        try:
            answer = self._pipes[worker].recv_bytes()
        except (EOFError, OSError):
            self._died(worker)
        if answer[:1] == ERROR:
            raise RunError(f"an environment failed ({self._of(worker)}): {answer[1:].decode()}")
        return answer[1:]

    def _died(self, worker: int) -> NoReturn:
        process = self._processes[worker]
        process.join(SHUTDOWN_TIMEOUT_S)
        raise RunError(
            f"an environment's process died with exit code {process.exitcode} "
            f"({self._of(worker)}); out of memory, or a crash of the simulator"
        )

    def _of(self, worker: int) -> str:
        rows = np.flatnonzero(self._worker == worker)
        return "; ".join(self._doing[row] for row in rows)

    def close(self) -> None:
        """Have every worker close its environments and end."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(SHUTDOWN_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()


# --- in the worker -------------------------------------------------------------------------------


def _work(pipe: Connection, make: Make, rows: list[int]) -> None:
    """Serve until the pipe closes, which the death of the other side does too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer handles Ctrl-C and closes the pipe
    envs: VectorEnv | None = None
    try:
        envs = VectorEnv(lambda i: make(rows[i]), len(rows))
        pipe.send_bytes(OK)
        pipe.send((envs.observations, envs.actions, envs.default_task, envs.tasks))
        layout = pipe.recv()
        _serve(pipe, envs, rows, _attach(reduction.recv_handle(pipe), layout))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the trainer is gone
    except Exception as error:
        pipe.send_bytes(ERROR + f"{type(error).__name__}: {error}".encode())
    finally:
        if envs is not None:
            envs.close()


def _serve(pipe: Connection, envs: VectorEnv, rows: list[int], arrays: dict[str, Array]) -> None:
    """Answer every message: a step of the active rows, or resets."""
    mine = {name: array[rows[0] : rows[-1] + 1] for name, array in arrays.items()}
    # The environments write straight into the shared arrays.
    envs.observation = {key: mine[f"observation.{key}"] for key in envs.observation}
    envs.returned = tuple(mine[name] for name in RETURNED)
    action, active = mine["action"], mine["active"]
    while True:
        message = pipe.recv_bytes()
        if message == STEP:
            local = None if active.all() else np.flatnonzero(active)
            envs.step(action if local is None else action[local], local)
            ended = [
                (rows[i], envs.infos[i])
                for i in (range(len(rows)) if local is None else local.tolist())
                if "attempt_return" in envs.infos[i]
            ]
            pipe.send_bytes(OK + (json.dumps(ended, default=_plain).encode() if ended else b""))
        else:
            asked, seeds, options = zip(*json.loads(message[1:]), strict=True)
            begun = [row - rows[0] for row in asked]
            envs.reset(begun, seeds, options)
            infos = [envs.infos[i] for i in begun]
            pipe.send_bytes(OK + json.dumps(infos, default=_plain).encode())


def _plain(value: Any) -> Any:
    """NumPy scalars in infos as JSON."""
    return value.item() if isinstance(value, np.generic) else str(value)
