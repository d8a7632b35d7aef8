"""Shards: the files in which replay keeps its trajectories.

A record is one token: everything known before acting, which is the observation with the previous
action, reward and termination, and the timestep. A trajectory of T transitions is T + 1
consecutive records, so a sub-sequence is one contiguous copy. A shard is a pair of plain NumPy
files, `tokens-00000.npy` (records) and `trajectories-00000.npy` (number, start, length, task). A
finished run publishes its tokens compressed (`tokens-00000.npy.zst`, Zstandard), always to the same
bytes.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import zstandard

from amago2.env.spaces import ActionSpec, Array
from amago2.files import atomic, sync

TRAJECTORY = np.dtype([("number", "<i8"), ("start", "<i8"), ("length", "<i4"), ("task", "<i4")])
COMPRESSION_LEVEL = 3
"""200 to 3000 MB/s on one core, and the files are hardly larger than at higher levels."""
MAX_SHARD_BYTES = 64 * 2**20
"""A shard is closed when it holds this much, or the configured number of timesteps."""


def record_type(observations: Mapping[str, gym.spaces.Box], actions: ActionSpec) -> np.dtype[Any]:
    """Structured type of one token."""
    fields: list[tuple[str, Any]] = [
        (f"observation.{key}", np.dtype((np.dtype(box.dtype).newbyteorder("<"), box.shape)))
        for key, box in observations.items()
    ]
    fields += [("action", actions.stored), ("reward", "<f4"), ("terminated", "?"), ("time", "<i4")]
    return np.dtype(fields)


def write_shard(
    folder: Path,
    number: int,
    tokens: Array,
    rows: Sequence[tuple[int, int, int, int]],
    durable: bool,
) -> list[Path]:
    """Write records (T,) and the rows of `TRAJECTORY` that they belong to; return both paths."""
    arrays = {"tokens": tokens, "trajectories": np.array(rows, TRAJECTORY)}
    paths = [folder / f"{name}-{number:05}.npy" for name in arrays]
    for path, array in zip(paths, arrays.values(), strict=True):
        with atomic(path, durable) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    return paths


def read_shard(folder: Path, number: int, record: np.dtype[Any]) -> tuple[Array, Array]:
    """Records (T,), memory-mapped, and the rows of `TRAJECTORY` of one shard.

    Raises `ValueError` if the records are not of type `record`.
    """
    tokens = np.load(folder / f"tokens-{number:05}.npy", mmap_mode="r", allow_pickle=False)
    rows = np.load(folder / f"trajectories-{number:05}.npy", allow_pickle=False)
    if tokens.dtype != record or rows.dtype != TRAJECTORY:
        raise ValueError(
            f"{folder}: replay shard {number} was written for other observation or action spaces"
        )
    return tokens, rows


def compress(folder: Path, number: int) -> None:
    """Replace the tokens of a shard in `folder` by their compressed form."""
    tokens = folder / f"tokens-{number:05}.npy"
    compressed = folder / f"{tokens.name}.zst"
    with tokens.open("rb") as file, compressed.open("wb") as out:
        zstandard.ZstdCompressor(COMPRESSION_LEVEL).copy_stream(file, out)
    sync(compressed)
    tokens.unlink()


def link(source: Path, folder: Path, number: int) -> None:
    """Hard-link both files of a shard from `source` into `folder`, or copy them to another disk."""
    for name in ("tokens", "trajectories"):
        path = f"{name}-{number:05}.npy"
        try:
            os.link(source / path, folder / path)
        except OSError:
            shutil.copyfile(source / path, folder / path)


def unpack(published: Path, shards: Path, last: Path) -> None:
    """Undo `Replay.publish`: full shards go to `shards`, what `Replay.save` wrote to `last`.

    Both folders must exist. Raises `zstandard.ZstdError` if a shard is damaged.
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
