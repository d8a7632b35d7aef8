"""Learning with several processes, each of which has a share of every batch.

Rank 0 is the whole run: environments, replay, checkpoints, evaluation. It broadcasts the
configuration and the weights to the other ranks once. Each update then scatters the rows of a
batch, and all-reduce makes losses, statistics and gradients those of the whole batch, so that every
rank steps to the same weights. Gradients are all-reduced as one flat vector rather than by
`DistributedDataParallel`, which lays out its buckets anew after a start: with three ranks or more,
the sums of a resumed run would be rounded differently.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import torch as safetensors
from torch import Tensor

from amago2.errors import ConfigError, RunError, sentence
from amago2.processes import (
    TORCHRUN,
    end_with_parent,
    leave_signals_to_trainer,
    raise_died,
    refuse_second_start,
    start,
)

Array = NDArray[Any]
Metrics = Mapping[str, Tensor]
IDLE_TIMEOUT = timedelta(days=7)
"""For other ranks to wait while rank 0 collects and evaluates; they notice at once if it dies."""
UPDATE_TIMEOUT = timedelta(minutes=5)
"""For ranks to find each other, and to wait for each other in an update."""
START_TIMEOUT_S = 5.0
"""For a process that did not start to end."""
LOST_RANK = (
    "lost contact with another process of this run: it has ended or does not answer; "
    "run the same command again to continue from the last checkpoint"
)


class SingleProcess:
    """A process that learns alone: its share of a batch is the whole batch."""

    share = 1.0
    """Share of the batch's valid transitions."""
    rng_counters: tuple[int, ...] = ()
    """What a rank's random streams depend on, besides the seed and the update."""

    def mean(self, x: Tensor) -> Tensor:
        """Mean (...) over the whole batch of x (M, ...), of which this process has a share."""
        return x.mean(0)

    def std(self, x: Tensor, correction: int = 1) -> Tensor:
        """Standard deviation () over all entries of the whole batch's x."""
        return x.std(correction=correction)

    def use_device(self, device: str) -> None:
        """Prepare to learn on each rank's own `device`, `cpu` or `cuda`."""

    def broadcast_state(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Send the other ranks what they start with, before the first update: JSON and tensors."""

    def scatter_batch(self, records: Array, lengths: Array) -> tuple[Array, Array]:
        """This rank's rows of records (B, L) and valid lengths (B,), of which rank 0 gives all."""
        return records, lengths

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients of all ranks, in place."""

    def all_reduce_metrics(self, metrics: Metrics) -> dict[str, Tensor]:
        """Means over this rank's transitions -> means over those of the whole batch."""
        return dict(metrics)

    def close(self) -> None:
        """Tell the other ranks that training has ended."""


class ProcessGroup(SingleProcess):
    """One of several processes that learn together.

    Its methods raise `RunError` if another rank is lost.
    """

    def __init__(self, rank: int = -1, size: int = -1, rendezvous: str = "env://") -> None:
        """Join the group: by `torchrun`'s variables, or as `rank` of `size` at a `file://` URL."""
        end_with_parent()
        if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
            # All on one machine: do not listen to any other.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        with _collective():
            where: dict[str, Any] = {"init_method": rendezvous, "rank": rank, "world_size": size}
            dist.init_process_group("gloo", timeout=UPDATE_TIMEOUT, **where)
            self._idle_group = dist.new_group(backend="gloo", timeout=IDLE_TIMEOUT)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.rng_counters = (self.rank,)
        self._reduce_group: Any = None  # all processes by gloo, unless their GPUs by NCCL
        self._in_update = False
        if self.rank and TORCHRUN in os.environ:  # which ends it by SIGTERM
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        elif self.rank:
            leave_signals_to_trainer()
        elif TORCHRUN in os.environ:
            signal.signal(signal.SIGTERM, _raise_terminated)

    def use_device(self, device: str) -> None:
        """See `SingleProcess.use_device`; GPUs are joined by NCCL, processes by gloo."""
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", self.rank)))
            with _collective():
                self._reduce_group = dist.new_group(backend="nccl", timeout=UPDATE_TIMEOUT)

    # --- statistics of the whole batch ----------------------------------------------------------

    def mean(self, x: Tensor) -> Tensor:
        """See `SingleProcess.mean`."""
        total, count = self._sum(x.sum(0), len(x))
        return total / count

    def std(self, x: Tensor, correction: int = 1) -> Tensor:
        """See `SingleProcess.std`."""
        square, count = self._sum(((x - self.mean(x.flatten())) ** 2).sum(), x.numel())
        return (square / (count - correction)).sqrt()

    def _sum(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Sums of x (...) and of a count over all ranks."""
        both = torch.cat([x.flatten(), x.new_full((1,), count)])
        self._all_reduce(both)
        return both[:-1].view(x.shape), both[-1]

    def _all_reduce(self, x: Tensor) -> None:
        with _collective():
            dist.all_reduce(x, group=self._reduce_group)

    def all_reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """See `SingleProcess.all_reduce_gradients`."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def all_reduce_metrics(self, metrics: Metrics) -> dict[str, Tensor]:
        """See `SingleProcess.all_reduce_metrics`; the last exchange of an update."""
        flat = torch.cat([value.flatten() * self.share for value in metrics.values()])
        self._all_reduce(flat)
        self._in_update = False
        parts = flat.split([value.numel() for value in metrics.values()])
        return {
            name: part.view_as(value)
            for (name, value), part in zip(metrics.items(), parts, strict=True)
        }

    # --- from rank 0 to the others --------------------------------------------------------------

    def broadcast_state(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """See `SingleProcess.broadcast_state`."""
        copied = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
        for message in (json.dumps(values).encode(), safetensors.save(copied)):
            self._broadcast_size(len(message))
            self._broadcast(torch.frombuffer(bytearray(message), dtype=torch.uint8))

    def receive_state(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What `broadcast_state` of rank 0 sends; None if training ends before it begins."""
        values = self._receive()
        return (json.loads(values), safetensors.load(self._receive())) if values else None

    def _receive(self) -> bytes:
        length = self._broadcast_size()
        content = torch.empty(length, dtype=torch.uint8)
        return self._broadcast(content).numpy().tobytes() if length else b""

    def scatter_batch(self, records: Array, lengths: Array) -> tuple[Array, Array]:
        """See `SingleProcess.scatter_batch`."""
        self._in_update = True
        self._broadcast_size(len(lengths))
        self._broadcast(torch.from_numpy(lengths.astype(np.int64)))
        rows = torch.from_numpy(records.view(np.uint8).reshape(self.size, -1))
        self._scatter(torch.empty_like(rows[0]), list(rows))
        return self._own_rows(records), self._own_lengths(lengths)

    def receive_batch(self, length: int, record: np.dtype[Any]) -> tuple[Array, Array] | None:
        """What `scatter_batch` of rank 0 gives this rank, of records (B, `length`).

        None once training has ended.
        """
        batch = self._broadcast_size()
        if batch == 0:
            return None
        lengths = self._broadcast(torch.empty(batch, dtype=torch.int64)).numpy()
        shape = (batch // self.size, length)
        content = torch.empty(shape[0] * length * record.itemsize, dtype=torch.uint8)
        self._scatter(content, None)
        return content.numpy().view(record).reshape(shape), self._own_lengths(lengths)

    def _own_rows(self, rows: Array) -> Array:
        share = len(rows) // self.size
        return rows[self.rank * share : (self.rank + 1) * share]

    def _own_lengths(self, lengths: Array) -> Array:
        own = self._own_rows(lengths)
        self.share = float((own - 1).sum() / (lengths - 1).sum())
        return own

    def _broadcast_size(self, size: int = 0) -> int:
        """Size of what rank 0 sends next, however long it takes to come; 0 for the end."""
        sent = torch.tensor(size)
        with _collective():
            dist.broadcast(sent, src=0, group=self._idle_group)
        return int(sent)

    def _broadcast(self, x: Tensor) -> Tensor:
        with _collective():
            dist.broadcast(x, src=0)
        return x

    def _scatter(self, own: Tensor, rows: list[Tensor] | None) -> None:
        with _collective():
            dist.scatter(own, rows, src=0)

    def close(self) -> None:
        """See `SingleProcess.close`; in the middle of an update the others notice by themselves."""
        if self._in_update:
            return
        with suppress(RunError):
            if self.rank == 0:
                self._broadcast_size(0)
            dist.destroy_process_group()


@contextmanager
def _collective() -> Iterator[None]:
    """Turn the failure of a collective operation, for want of another rank, into `RunError`."""
    try:
        yield
    except RunError:
        raise
    except RuntimeError as error:
        if said := sentence(error):
            raise RunError(said) from None
        if TORCHRUN in os.environ:  # it ends us soon, and the message is on its way
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise RunError(LOST_RANK) from None


def _raise_terminated(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise RunError(
        "torchrun ended this run: another of its processes has ended, or it was asked to stop; "
        "run the same command again to continue from the last checkpoint"
    )


@contextmanager
def launch(ranks: int | None, work: Callable[[ProcessGroup], None]) -> Iterator[SingleProcess]:
    """Start `ranks` processes and yield rank 0's group; a single process if `ranks` is None.

    The others run `work`, a module's function, until the context ends. Under `torchrun` they are
    there already. Raises `ConfigError` if `torchrun` started another number of processes,
    `RunError` if they do not find each other.
    """
    refuse_second_start()
    started = os.environ.get("WORLD_SIZE", "1")
    if started not in ("1", str(ranks)):
        raise ConfigError(
            f"learner.processes is {ranks or 'not set'}, but torchrun started {started} processes; "
            "give both the same number"
        )
    if ranks is None:
        yield SingleProcess()
    elif started != "1":
        with closing(ProcessGroup()) as group:
            yield group
    else:
        with TemporaryDirectory() as folder:
            rendezvous = f"file://{folder}/rendezvous"
            _start_ranks(ranks, work, rendezvous)
            with closing(ProcessGroup(0, ranks, rendezvous)) as group:
                yield group


def _start_ranks(ranks: int, work: Callable[[ProcessGroup], None], rendezvous: str) -> None:
    """Start the other ranks, and wait until each has begun. Raises `RunError` if one has not."""
    context = multiprocessing.get_context("spawn")
    started = []
    for rank in range(1, ranks):
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, work, rank, ranks, rendezvous)
        process = context.Process(target=_join, args=arguments, daemon=True)
        start(process)
        theirs.close()
        started.append((process, ours))
    for rank, (process, ours) in enumerate(started, 1):
        with ours:
            try:
                ours.recv_bytes()
            except EOFError:
                raise_died(process, f"rank {rank} of this run", START_TIMEOUT_S)


def _join(
    started: Connection,
    work: Callable[[ProcessGroup], None],
    rank: int,
    size: int,
    rendezvous: str,
) -> None:
    with started:
        started.send_bytes(b"started")
    try:
        work(ProcessGroup(rank, size, rendezvous))
    except RunError:
        sys.exit(1)  # rank 0 reports why
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        print(f"amago2: rank {rank}: {said}", file=sys.stderr)
        sys.exit(1)
