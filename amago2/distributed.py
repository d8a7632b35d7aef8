"""Learning with several processes: each has a share of every batch.

Rank 0 is the whole run: environments, replay, checkpoints, evaluation. The others are told the
configuration and the weights once; then each update deals them rows of the batch, and sums make
losses, statistics and gradients those of the whole batch, so that all step to the same weights.
Gradients are summed in one piece rather than by `DistributedDataParallel`, whose buckets are laid
out anew after a start: with three ranks or more, a resumed run's sums would round otherwise.
"""

import ctypes
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import torch as safetensors
from torch import Tensor

from amago2.errors import ConfigError, RunError

Array = NDArray[Any]
Metrics = Mapping[str, Tensor]
BETWEEN = timedelta(days=7)
"""For the other ranks to wait while rank 0 collects and evaluates; its death they see at once."""
WITHIN = timedelta(minutes=5)
"""For the ranks to find each other, and to wait for each other in an update."""
TORCHRUN = "TORCHELASTIC_RUN_ID"
"""A variable that `torchrun` sets."""
PR_SET_PDEATHSIG = 1  # of sys/prctl.h
LOST = (
    "the processes that learn together have lost each other: one has ended, or does not answer; "
    "the same command goes on from the last checkpoint"
)


class Alone:
    """A process that learns alone: its share of a batch is the batch."""

    share = 1.0
    """Of the batch's valid transitions."""
    counters: tuple[int, ...] = ()
    """What a rank's noise is drawn from, beside the seed and the update."""

    def mean(self, x: Tensor) -> Tensor:
        """Mean (...) of the whole batch's x (M, ...), of which this is the own share."""
        return x.mean(0)

    def std(self, x: Tensor, correction: int = 1) -> Tensor:
        """Standard deviation () of all entries of the whole batch's x."""
        return x.std(correction=correction)

    def compute_on(self, device: str) -> None:
        """Make ready to learn on each rank's own `device`."""

    def tell(self, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Before the first update: JSON values and tensors that the other ranks begin with."""

    def deal(self, records: Array, lengths: Array) -> tuple[Array, Array]:
        """Own rows of records (B, L) and their valid lengths (B,); rank 0 gives all of them."""
        return records, lengths

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients of all ranks, in place."""

    def of_whole(self, metrics: Metrics) -> dict[str, Tensor]:
        """Means over the own transitions -> means over the whole batch's."""
        return dict(metrics)

    def close(self) -> None:
        """Tell the other ranks that it is over."""


class Ranks(Alone):
    """One of several processes that learn together. Its methods raise `RunError` if one is gone."""

    def __init__(self, rank: int = -1, size: int = -1, meeting: str = "env://") -> None:
        """Find the others: as `torchrun`'s variables say, or being `rank` of `size` at a file."""
        end_with_parent()
        if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: for nobody else
            os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        with _together():
            where: dict[str, Any] = {"init_method": meeting, "rank": rank, "world_size": size}
            dist.init_process_group("gloo", timeout=WITHIN, **where)
            self._between = dist.new_group(backend="gloo", timeout=BETWEEN)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.counters = (self.rank,)
        self._sums: Any = None  # the group that adds up: all processes, if not their GPUs
        self._in_step = False
        if self.rank:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for rank 0, which tells us
        elif TORCHRUN in os.environ:
            signal.signal(signal.SIGTERM, _told_to_end)

    def compute_on(self, device: str) -> None:
        """See `Alone.compute_on`; GPUs are joined by NCCL, processes by gloo."""
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", self.rank)))
            with _together():
                self._sums = dist.new_group(backend="nccl", timeout=WITHIN)

    # --- statistics of the whole batch ----------------------------------------------------------

    def mean(self, x: Tensor) -> Tensor:
        """See `Alone.mean`."""
        total, count = self._sum(x.sum(0), len(x))
        return total / count

    def std(self, x: Tensor, correction: int = 1) -> Tensor:
        """See `Alone.std`."""
        square, count = self._sum(((x - self.mean(x.flatten())) ** 2).sum(), x.numel())
        return (square / (count - correction)).sqrt()

    def _sum(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Of x (...) and of a count, over all ranks."""
        both = torch.cat([x.flatten(), x.new_tensor([count])])
        self._add(both)
        return both[:-1].view(x.shape), both[-1]

    def _add(self, x: Tensor) -> None:
        with _together():
            dist.all_reduce(x, group=self._sums)

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """See `Alone.add_gradients`."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._add(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def of_whole(self, metrics: Metrics) -> dict[str, Tensor]:
        """See `Alone.of_whole`; the last exchange of an update."""
        flat = torch.cat([value.flatten() * self.share for value in metrics.values()])
        self._add(flat)
        self._in_step = False
        parts = flat.split([value.numel() for value in metrics.values()])
        return {
            name: part.view_as(value)
            for (name, value), part in zip(metrics.items(), parts, strict=True)
        }

    # --- between the updates --------------------------------------------------------------------

    def tell(self, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """See `Alone.tell`."""
        copied = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
        for message in (json.dumps(about).encode(), safetensors.save(copied)):
            self._announce(len(message))
            self._broadcast(torch.frombuffer(bytearray(message), dtype=torch.uint8))

    def told(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What rank 0 told; None if all is over before it began."""
        about = self._told()
        return (json.loads(about), safetensors.load(self._told())) if about else None

    def _told(self) -> bytes:
        length = self._announce()
        content = torch.empty(length, dtype=torch.uint8)
        return self._broadcast(content).numpy().tobytes() if length else b""

    def deal(self, records: Array, lengths: Array) -> tuple[Array, Array]:
        """See `Alone.deal`."""
        self._in_step = True
        self._announce(len(lengths))
        self._broadcast(torch.from_numpy(lengths.astype(np.int64)))
        rows = torch.from_numpy(records.view(np.uint8).reshape(self.size, -1))
        self._scatter(torch.empty_like(rows[0]), list(rows))
        return self._own(records), self._own_lengths(lengths)

    def dealt(self, length: int, record: np.dtype[Any]) -> tuple[Array, Array] | None:
        """What `deal` gives this rank, of records (B, `length`); None once all is over."""
        batch = self._announce()
        if batch == 0:
            return None
        lengths = self._broadcast(torch.empty(batch, dtype=torch.int64)).numpy()
        shape = (batch // self.size, length)
        content = torch.empty(shape[0] * length * record.itemsize, dtype=torch.uint8)
        self._scatter(content, None)
        return content.numpy().view(record).reshape(shape), self._own_lengths(lengths)

    def _own(self, rows: Array) -> Array:
        share = len(rows) // self.size
        return rows[self.rank * share : (self.rank + 1) * share]

    def _own_lengths(self, lengths: Array) -> Array:
        own = self._own(lengths)
        self.share = float((own - 1).sum() / (lengths - 1).sum())
        return own

    def _announce(self, size: int = 0) -> int:
        """Size of what rank 0 sends next, however long it takes to come; 0 for the end."""
        said = torch.tensor(size)
        with _together():
            dist.broadcast(said, src=0, group=self._between)
        return int(said)

    def _broadcast(self, x: Tensor) -> Tensor:
        with _together():
            dist.broadcast(x, src=0)
        return x

    def _scatter(self, own: Tensor, rows: list[Tensor] | None) -> None:
        with _together():
            dist.scatter(own, rows, src=0)

    def close(self) -> None:
        """See `Alone.close`; in the middle of an update they see it by themselves."""
        if self._in_step:
            return
        with suppress(RunError):
            if self.rank == 0:
                self._announce(0)
            dist.destroy_process_group()


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _together() -> Iterator[None]:
    """Collectives, which fail where another rank is gone."""
    try:
        yield
    except RunError:
        raise
    except RuntimeError:
        if TORCHRUN in os.environ:  # which ends us: what is to be said is being said
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise RunError(LOST) from None


def _told_to_end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise RunError(
        "torchrun ended this run: another of its processes has ended, or it was told to stop; "
        "the same command goes on from the last checkpoint"
    )


@contextmanager
def together(ranks: int | None, assist: Callable[[Ranks], None]) -> Iterator[Alone]:
    """Alone, or the first of `ranks` processes; the others `assist`, till the end of the context.

    `assist` is a module's function. Raises `ConfigError` if `torchrun` started another number of
    processes, `RunError` if they do not find each other.
    """
    started = os.environ.get("WORLD_SIZE", "1")
    if started not in ("1", str(ranks)):
        raise ConfigError(
            f"learner.processes is {ranks or 'not set'}, but torchrun started {started} processes; "
            "give both the same number"
        )
    if ranks is None:
        yield Alone()
    elif started != "1":
        with closing(Ranks()) as own:
            yield own
    else:
        with TemporaryDirectory() as folder:
            meeting = f"file://{folder}/meeting"
            start = multiprocessing.get_context("spawn").Process
            for rank in range(1, ranks):
                start(target=_assist, args=(assist, rank, ranks, meeting), daemon=True).start()
            with closing(Ranks(0, ranks, meeting)) as own:
                yield own


def _assist(assist: Callable[[Ranks], None], rank: int, size: int, meeting: str) -> None:
    try:
        assist(Ranks(rank, size, meeting))
    except RunError:
        sys.exit(1)  # rank 0 says why
