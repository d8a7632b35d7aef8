"""The replay buffer: trajectories in append-only, memory-mapped shards, sampled by sub-sequence.

A full shard never changes. The open shard is kept in memory and is written with every checkpoint,
which also waits until the full shards have reached the disk. `amago2.replay.shards` describes the
files.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from amago2.env.spaces import Array
from amago2.files import sync, write_atomically
from amago2.replay.shards import MAX_SHARD_BYTES, compress, link, read_shard, write_shard


class Replay:
    """First in, first out, by timesteps or by trajectories; sampled uniformly by trajectory."""

    def __init__(
        self, folder: Path, record: np.dtype[Any], capacity: int, unit: str, shard_size: int
    ) -> None:
        """Empty replay that will keep its full shards in `folder`, `shard_size` tokens each."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.record, self.capacity, self.unit = folder, record, capacity, unit
        self.shard_tokens = max(1, min(shard_size, MAX_SHARD_BYTES // record.itemsize))
        self.tasks: list[str] = []
        self.timesteps = 0  # transitions in live trajectories
        self._total = self._evicted = 0  # trajectories ever added, and dropped
        self._live = np.zeros((1024, 4), np.int64)  # rows (shard, start, length, task)
        self._head = self._tail = 0  # live rows are _live[_head:_tail]
        self._shards: dict[int, Array] = {}  # tokens of each shard with live trajectories
        self._open, self._filled = 0, 0
        self._rows: list[tuple[int, int, int, int]] = []  # trajectories of the open shard
        self._room = np.zeros(self.shard_tokens, record)  # of every open shard in turn
        self._unsynced: list[Path] = []  # full shards since the last `save`
        self._open_shard(0)

    def __len__(self) -> int:
        """Live trajectories."""
        return self._tail - self._head

    # --- writing --------------------------------------------------------------------------------

    def add(self, tokens: Array, task: str) -> None:
        """Append a trajectory of T + 1 records (T >= 1), evicting the oldest beyond capacity."""
        if task not in self.tasks:
            self.tasks.append(task)
        end = self._filled + len(tokens)
        if end > len(self._shards[self._open]):
            grown = np.zeros(end, self.record)  # for the trajectory that closes the shard
            grown[: self._filled] = self._shards[self._open][: self._filled]
            self._shards[self._open] = self._room = grown
        self._shards[self._open][self._filled : end] = tokens
        row = (self._total, self._filled, len(tokens), self.tasks.index(task))
        self._rows.append(row)
        self._push(self._open, *row[1:])
        self._filled, self._total = end, self._total + 1
        while len(self) > 1 and self._used() > self.capacity:
            self._evict()
        if self._filled >= self.shard_tokens:
            self._unsynced += self._write(self.folder, durable=False)
            self._shards[self._open] = read_shard(self.folder, self._open, self.record)[0]
            self._open_shard(self._open + 1)

    def _open_shard(self, number: int) -> None:
        self._open, self._filled = number, 0
        self._rows = []
        self._shards[number] = self._room

    def _used(self) -> int:
        return self.timesteps if self.unit == "timesteps" else len(self)

    def _push(self, shard: int, start: int, length: int, task: int) -> None:
        if self._tail == len(self._live):
            live = self._live[self._head : self._tail]
            self._live = np.concatenate([live, np.zeros((len(live) + 1024, 4), np.int64)])
            self._head, self._tail = 0, len(live)
        self._live[self._tail] = (shard, start, length, task)
        self._tail += 1
        self.timesteps += length - 1

    def _evict(self) -> None:
        shard, _, length, _ = self._live[self._head]
        self.timesteps -= int(length) - 1
        self._head, self._evicted = self._head + 1, self._evicted + 1
        if shard != self._open and self._live[self._head, 0] != shard:
            del self._shards[int(shard)]

    def _write(self, folder: Path, durable: bool) -> list[Path]:
        """Write the open shard."""
        tokens = self._room[: self._filled]
        return write_shard(folder, self._open, tokens, self._rows, durable)

    # --- reading --------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, batch: int, context: int) -> tuple[Array, Array]:
        """Records (batch, context + 1) of sub-sequences, and how many (batch,) of each are valid.

        A trajectory is drawn uniformly, then one of its positions; a shorter one is padded with
        zero records on the right.
        """
        rows = self._live[self._head + rng.integers(len(self), size=batch)]
        slack = np.maximum(rows[:, 2] - (context + 1), 0)
        offsets = rng.integers(slack + 1)
        drawn = np.empty((batch, context + 1), self.record)
        lengths = np.minimum(rows[:, 2], context + 1)
        for i, ((shard, start, _, _), offset, length) in enumerate(
            zip(rows, offsets, lengths, strict=True)
        ):
            first = start + offset
            drawn[i, :length] = self._shards[int(shard)][first : first + length]
            drawn[i, length:] = np.zeros((), self.record)
        return drawn, lengths

    def task_shares(self) -> dict[str, float]:
        """Share of live timesteps by task."""
        live = self._live[self._head : self._tail]
        counts = np.bincount(live[:, 3], live[:, 2] - 1, len(self.tasks)) / max(1, self.timesteps)
        return dict(zip(self.tasks, counts.tolist(), strict=True))

    # --- saving ---------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the open shard and `replay.json` to `folder`; full shards already lie in theirs."""
        self._write(folder, durable=True)
        for path in self._unsynced:
            sync(path)
        if self._unsynced:
            sync(self.folder)
        self._unsynced = []
        state = {
            "shard": self._open,
            "evicted": self._evicted,
            "total": self._total,
            "tasks": self.tasks,
            "oldest_shard": min(self._shards),
        }
        write_atomically(folder / "replay.json", json.dumps(state, indent=1) + "\n")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote to `folder`; the full shards are in the replay's own folder."""
        state = json.loads((folder / "replay.json").read_text())
        self.tasks, self._evicted = list(state["tasks"]), int(state["evicted"])
        self.timesteps = self._head = self._tail = 0
        self._shards = {}
        for number in range(state["oldest_shard"], state["shard"] + 1):
            last = number == state["shard"]
            tokens, rows = read_shard(folder if last else self.folder, number, self.record)
            for row in rows[rows["number"] >= self._evicted]:
                self._push(number, int(row["start"]), int(row["length"]), int(row["task"]))
            if last:
                self._open_shard(number)
                self._room[: len(tokens)] = tokens
                self._filled, self._rows = len(tokens), [tuple(row) for row in rows.tolist()]
            else:
                self._shards[number] = tokens
        self._total = int(state["total"])

    def publish(self, folder: Path) -> None:
        """Write all shards that hold live trajectories to an empty `folder`, compressed."""
        self.save(folder)
        for number in range(min(self._shards), self._open + 1):
            if number != self._open:
                link(self.folder, folder, number)
            compress(folder, number)

    def discard_shards(self, oldest: int) -> None:
        """Delete full shards numbered below `oldest`: no kept checkpoint needs them."""
        for path in sorted(self.folder.glob("*-*.npy")):
            if int(path.stem.rpartition("-")[2]) < oldest:
                path.unlink()
