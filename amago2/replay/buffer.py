"""The replay buffer: trajectories in append-only shards on disk, sampled by sub-sequence.

A full shard never changes. The open shard is kept in memory and is written with every checkpoint,
which also waits until the full shards have reached the disk. `amago2.replay.shards` describes the
files.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from amago2.env.spaces import Array
from amago2.files import check_sums, make_folder, sync
from amago2.footprint import MAX_SHARD_BYTES
from amago2.replay.local_copies import LocalCopies
from amago2.replay.shards import (
    ShardReader,
    compress,
    count_tokens,
    read_rows,
    write_shard,
)
from amago2.replay.stored import ReplayState, check_rows, read_state, shard_files


class Replay:
    """First in, first out, by timesteps or by trajectories; sampled uniformly by trajectory."""

    def __init__(
        self,
        folder: Path,
        record: np.dtype[Any],
        capacity: int,
        unit: str,
        shard_size: int,
        copies: LocalCopies | None = None,
    ) -> None:
        """Empty replay that will keep its full shards in `folder`, `shard_size` tokens each.

        With `copies`, it samples from copies of them on another disk.
        """
        make_folder(folder)
        self.folder, self.record, self.capacity, self.unit = folder, record, capacity, unit
        self.shard_tokens = max(1, min(shard_size, MAX_SHARD_BYTES // record.itemsize))
        self.tasks: list[str] = []
        self.timesteps = 0  # transitions in live trajectories
        self._total = self._evicted = 0  # trajectories ever added, and dropped
        self._live = np.zeros((1024, 4), np.int64)  # rows (shard, start, length, task)
        self._head = self._tail = 0  # live rows are _live[_head:_tail]
        self._full = ShardReader(folder, record, copies)
        self._open, self._filled = 0, 0
        self._rows: list[tuple[int, int, int, int]] = []  # trajectories of the open shard
        self._room = np.zeros(self.shard_tokens, record)  # of every open shard in turn
        self._digests: dict[str, str] = {}  # of full shards' files, by name
        self._unsynced: list[Path] = []  # those written since the last `save`
        self._open_shard(0)

    def __len__(self) -> int:
        """Live trajectories."""
        return self._tail - self._head

    @property
    def oldest_shard(self) -> int:
        """Number of the oldest shard with live trajectories."""
        return int(self._live[self._head, 0]) if len(self) else self._open

    # --- writing --------------------------------------------------------------------------------

    def add(self, tokens: Array, task: str) -> None:
        """Append a trajectory of T + 1 records (T >= 1), evicting the oldest beyond capacity."""
        if task not in self.tasks:
            self.tasks.append(task)
        end = self._filled + len(tokens)
        if end > len(self._room):
            grown = np.zeros(end, self.record)  # for the trajectory that closes the shard
            grown[: self._filled] = self._room[: self._filled]
            self._room = grown
        self._room[self._filled : end] = tokens
        row = (self._total, self._filled, len(tokens), self.tasks.index(task))
        self._rows.append(row)
        self._push(self._open, *row[1:])
        self._filled, self._total = end, self._total + 1
        while len(self) > 1 and self._used() > self.capacity:
            self._evict()
        if self._filled >= self.shard_tokens:
            written = self._write(self.folder, durable=False)
            self._digests |= written
            self._unsynced += [self.folder / name for name in written]
            self._open_shard(self._open + 1)

    def _open_shard(self, number: int) -> None:
        self._open, self._filled = number, 0
        self._rows = []

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
            self._full.forget(int(shard))

    def _write(self, folder: Path, durable: bool) -> dict[str, str]:
        """Write the open shard; returns the SHA-256 of its files by name."""
        tokens = self._room[: self._filled]
        return write_shard(folder, self._open, tokens, self._rows, durable)

    # --- reading --------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, batch: int, context: int) -> tuple[Array, Array]:
        """Records (batch, context + 1) of sub-sequences, and how many (batch,) of each are valid.

        A trajectory is drawn uniformly, then one of its positions; a shorter one is padded with
        zero records on the right.
        """
        rows = self._draw(rng, batch)
        slack = np.maximum(rows[:, 2] - (context + 1), 0)
        offsets = rng.integers(slack + 1)
        drawn = np.zeros((batch, context + 1), self.record)
        lengths = np.minimum(rows[:, 2], context + 1)
        content = drawn.view(np.uint8).reshape(batch, -1)
        sizes = (lengths * self.record.itemsize).tolist()
        firsts = (rows[:, 1] + offsets).tolist()
        for i, (shard, first, size) in enumerate(
            zip(rows[:, 0].tolist(), firsts, sizes, strict=True)
        ):
            if shard == self._open:
                drawn[i, : lengths[i]] = self._room[first : first + lengths[i]]
            else:
                self._full.read(shard, first, content[i, :size])
        return drawn, lengths

    def _draw(self, rng: np.random.Generator, batch: int) -> Array:
        """Rows (batch, 4) of trajectories."""
        rows: Array = self._live[self._head + rng.integers(len(self), size=batch)]
        return rows

    def sampled_tasks(self, rng: np.random.Generator, batch: int) -> Array:
        """Position in `tasks` (batch,) of each row that `sample` draws from an equal generator."""
        tasks: Array = self._draw(rng, batch)[:, 3]
        return tasks

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
        self._state().write(folder)

    def _state(self) -> ReplayState:
        oldest = self.oldest_shard
        names = [name for k in range(oldest, self._open) for name in shard_files(k)]
        return ReplayState(
            shard=self._open,
            evicted=self._evicted,
            total=self._total,
            tasks=self.tasks,
            oldest_shard=oldest,
            full_sha256={name: self._digests[name] for name in names},
        )

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote to `folder`; the full shards are in the replay's own folder.

        Raises `RunError`, before anything is changed, if a file is missing or damaged.
        """
        state = read_state(folder)
        check_sums(self.folder, state.full_sha256)
        rows = {k: read_rows(self.folder, k, len(state.tasks)) for k in state.full}
        rows[state.shard] = read_rows(folder, state.shard, len(state.tasks))
        check_rows(state, rows)
        for number in state.full:
            self._full.check(number, count_tokens(rows[number]))
        filled = count_tokens(rows[state.shard])
        last = ShardReader(folder, self.record)
        last.check(state.shard, filled)

        self.tasks, self._evicted, self._total = list(state.tasks), state.evicted, state.total
        self.timesteps = self._head = self._tail = 0
        self._digests, self._unsynced = dict(state.full_sha256), []
        for number, own in rows.items():
            for row in own[own["number"] >= self._evicted]:
                self._push(number, int(row["start"]), int(row["length"]), int(row["task"]))
        self._open_shard(state.shard)
        self._filled, self._rows = filled, [tuple(row) for row in rows[state.shard].tolist()]
        if filled:
            last.read(state.shard, 0, self._room[:filled].view(np.uint8))

    def publish(self, folder: Path) -> None:
        """Write all shards that hold live trajectories to an empty `folder`, compressed."""
        self.save(folder)
        for number in range(self.oldest_shard, self._open + 1):
            tokens, trajectories = shard_files(number)
            if number == self._open:
                compress(folder / tokens, folder)
                (folder / tokens).unlink()
            else:
                compress(self.folder / tokens, folder)
                shutil.copyfile(self.folder / trajectories, folder / trajectories)

    def discard_shards(self, oldest: int) -> None:
        """Delete full shards numbered below `oldest`: no kept checkpoint needs them."""
        for path in sorted(self.folder.glob("*-*.npy")):
            digits = path.stem.rpartition("-")[2]
            number = int(digits) if digits.isdecimal() else oldest
            if number < oldest and path.name in shard_files(number):
                path.unlink()
