"""Replay: trajectories as runs of fixed-size records in append-only, memory-mapped shards.

A record is one token: what is known before acting, i.e. the observation with the previous action,
reward and termination, and the timestep. A trajectory of T transitions is T + 1 records in a row,
so a sub-sequence is one contiguous copy. A shard is a pair of plain NumPy files,
`tokens-00000.npy` (records) and `trajectories-00000.npy` (number, start, length, task). A full
shard never changes; the open one is kept in memory and written with every checkpoint, which also
waits until the full ones have reached the disk. A finished run's tokens are published compressed
(`tokens-00000.npy.zst`, Zstandard), the same bytes each time.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import zstandard

from amago2.agent.batch import Batch
from amago2.env.spaces import ActionSpec, Array
from amago2.files import atomic, sync, write_atomically

TRAJECTORY = np.dtype([("number", "<i8"), ("start", "<i8"), ("length", "<i4"), ("task", "<i4")])
LEVEL = 3
"""Of compression: 200 to 3000 MB/s on one core, and hardly larger than at higher levels."""
SHARD_BYTES = 64 * 2**20
"""A shard is closed when it holds this much, or the configured number of timesteps."""


def record_type(observations: Mapping[str, gym.spaces.Box], actions: ActionSpec) -> np.dtype[Any]:
    """Structured type of one token."""
    fields: list[tuple[str, Any]] = [
        (f"observation.{key}", np.dtype((np.dtype(box.dtype).newbyteorder("<"), box.shape)))
        for key, box in observations.items()
    ]
    fields += [("action", actions.stored), ("reward", "<f4"), ("terminated", "?"), ("time", "<i4")]
    return np.dtype(fields)


class Replay:
    """First in, first out, by timesteps or by trajectories; sampled uniformly by trajectory."""

    def __init__(
        self, folder: Path, record: np.dtype[Any], capacity: int, unit: str, shard: int
    ) -> None:
        """Empty replay that will keep its full shards in `folder`; a shard holds `shard` tokens."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.record, self.capacity, self.unit = folder, record, capacity, unit
        self.shard_tokens = max(1, min(shard, SHARD_BYTES // record.itemsize))
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
            self._unsynced += self._write(self.folder, self._open, durable=False)
            self._shards[self._open] = self._map(self.folder, self._open)
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

    def _write(self, folder: Path, number: int, durable: bool) -> list[Path]:
        tokens = self._room[: self._filled]
        arrays = {"tokens": tokens, "trajectories": np.array(self._rows, TRAJECTORY)}
        paths = [folder / f"{name}-{number:05}.npy" for name in arrays]
        for path, array in zip(paths, arrays.values(), strict=True):
            with atomic(path, durable) as temporary, temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        return paths

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

    # --- keeping --------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the open shard and `replay.json` to `folder`; full shards already lie in theirs."""
        self._write(folder, self._open, durable=True)
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
        """Go back to what `save` wrote to `folder`, with the full shards in the replay's own."""
        state = json.loads((folder / "replay.json").read_text())
        self.tasks, self._evicted = list(state["tasks"]), int(state["evicted"])
        self.timesteps = self._head = self._tail = 0
        self._shards = {}
        for number in range(state["oldest_shard"], state["shard"] + 1):
            last = number == state["shard"]
            tokens, rows = self._read(folder if last else self.folder, number)
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
            tokens, rows = (f"{name}-{number:05}.npy" for name in ("tokens", "trajectories"))
            if number != self._open:
                os.link(self.folder / tokens, folder / tokens)
                os.link(self.folder / rows, folder / rows)
            with (folder / tokens).open("rb") as file, (folder / f"{tokens}.zst").open("wb") as out:
                zstandard.ZstdCompressor(LEVEL).copy_stream(file, out)
            sync(folder / f"{tokens}.zst")
            (folder / tokens).unlink()

    def discard_shards(self, oldest: int) -> None:
        """Delete full shards numbered below `oldest`: no kept checkpoint needs them."""
        for path in sorted(self.folder.glob("*-*.npy")):
            if int(path.stem.rpartition("-")[2]) < oldest:
                path.unlink()

    def _map(self, folder: Path, number: int) -> Array:
        return self._read(folder, number)[0]

    def _read(self, folder: Path, number: int) -> tuple[Array, Array]:
        tokens = np.load(folder / f"tokens-{number:05}.npy", mmap_mode="r", allow_pickle=False)
        rows = np.load(folder / f"trajectories-{number:05}.npy", allow_pickle=False)
        if tokens.dtype != self.record or rows.dtype != TRAJECTORY:
            raise ValueError(f"{folder}: replay shard {number} was made for other spaces")
        return tokens, rows


def unpack(published: Path, shards: Path, last: Path) -> None:
    """Undo `publish`: full shards to `shards`, what `save` wrote to `last`, both existing folders.

    Raises `zstandard.ZstdError` if a shard is damaged.
    """
    shutil.copyfile(published / "replay.json", last / "replay.json")
    open_shard = json.loads((last / "replay.json").read_text())["shard"]
    for rows in sorted(published.glob("trajectories-*.npy")):
        number = int(rows.stem.rpartition("-")[2])
        folder = last if number == open_shard else shards
        shutil.copyfile(rows, folder / rows.name)
        tokens = f"tokens-{number:05}.npy"
        with (published / f"{tokens}.zst").open("rb") as file, (folder / tokens).open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(file, out)
        sync(folder / tokens)


def shuffle_rewards(records: Array, lengths: Array, rng: np.random.Generator) -> None:
    """Permute, in place, the rewards of the valid transitions of records (B, L) over all of them.

    Rewards keep their distribution and lose all relation to task, state and action. Each
    sub-sequence's first token keeps its own: it is of no transition.
    """
    rewards = records["reward"][:, 1:]
    valid = np.arange(1, records.shape[1]) < lengths[:, None]
    rewards[valid] = rewards[valid][rng.permutation(np.count_nonzero(valid))]


def make_batch(records: Array, lengths: Array, actions: ActionSpec) -> Batch:
    """A batch of records (B, L), of which the first `lengths` (B,) of each row are valid.

    It is no longer than the longest of them.
    """
    records = records[:, : lengths.max()]

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(records[name]))

    names = [name for name in records.dtype.names or () if name.startswith("observation.")]
    valid = torch.arange(records.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
    return Batch(
        {name.removeprefix("observation."): tensor(name) for name in names},
        tensor("reward"),
        torch.from_numpy(actions.represent(records["action"])),
        tensor("terminated"),
        tensor("time").long(),
        valid,
    )
