"""Shards: the files in which replay keeps its trajectories.

A record is one token: everything known before acting, which is the observation with the previous
action, reward and termination, and the timestep. A trajectory of T transitions is T + 1
consecutive records, so a sub-sequence is one contiguous copy. A shard is a pair of plain NumPy
files, `tokens-00000.npy` (records) and `trajectories-00000.npy` (number, start, length, task). A
finished run publishes its tokens compressed (`tokens-00000.npy.zst`, Zstandard), always to the same
bytes.
"""

import hashlib
import io
import os
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import zstandard

from amago2.env.spaces import ActionSpec, Array
from amago2.errors import RunError
from amago2.files import atomic, naming, open_regular
from amago2.replay.local_copies import LocalCopies

TRAJECTORY = np.dtype([("number", "<i8"), ("start", "<i8"), ("length", "<i4"), ("task", "<i4")])
COMPRESSION_LEVEL = 3
"""200 to 3000 MB/s on one core, and the files are hardly larger than at higher levels."""
MAX_OPEN_FILES = 64
"""Of full shards; more are opened again when they are read."""
MAX_ROWS_BYTES = 2**30
MAX_WINDOW_BYTES = 2**27
"""What a decompressor may remember."""
CHUNK_BYTES = 2**20
_npy: Any = np.lib.format
DAMAGED = "is damaged (its SHA-256 is not the recorded one)"


def record_type(observations: Mapping[str, gym.spaces.Box], actions: ActionSpec) -> np.dtype[Any]:
    """Structured type of one token."""
    fields: list[tuple[str, Any]] = [
        (f"observation.{key}", np.dtype((np.dtype(box.dtype).newbyteorder("<"), box.shape)))
        for key, box in observations.items()
    ]
    fields += [("action", actions.stored), ("reward", "<f4"), ("terminated", "?"), ("time", "<i4")]
    return np.dtype(fields)


def header(dtype: np.dtype[Any], count: int) -> bytes:
    """How a NumPy file of an array (count,) begins. Compared and not parsed: nobody is believed."""
    described = {
        "descr": _npy.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (count,),
    }
    buffer = io.BytesIO()
    try:
        _npy.write_array_header_1_0(buffer, described)
    except ValueError:  # more than 64 KiB
        _npy.write_array_header_2_0(buffer, described)
    return buffer.getvalue()


def write_shard(
    folder: Path,
    number: int,
    tokens: Array,
    rows: Sequence[tuple[int, int, int, int]],
    durable: bool,
) -> dict[str, str]:
    """Write records (T,) and the rows of `TRAJECTORY` that they belong to.

    Returns the SHA-256 of both files by name.
    """
    digests = {}
    for name, array in (("tokens", tokens), ("trajectories", np.array(rows, TRAJECTORY))):
        path = folder / f"{name}-{number:05}.npy"
        with atomic(path, durable) as temporary, temporary.open("wb") as file:
            digest = hashlib.sha256()
            for part in (header(array.dtype, len(array)), array.view(np.uint8).data):
                digest.update(part)
                file.write(part)
        digests[path.name] = digest.hexdigest()
    return digests


def read_rows(folder: Path, number: int, tasks: int) -> Array:
    """The rows of `TRAJECTORY` of one shard. Raises `RunError` unless they are those of a shard."""
    path = folder / f"trajectories-{number:05}.npy"
    with naming(path), open_regular(path, MAX_ROWS_BYTES) as file:
        content = file.read()
    begin = header(TRAJECTORY, max(0, len(content) - len(header(TRAJECTORY, 0))) // 24)
    if not content.startswith(begin) or (len(content) - len(begin)) % TRAJECTORY.itemsize:
        raise RunError(f"{path}: is no file of a replay shard")
    rows: Array = np.frombuffer(content, TRAJECTORY, offset=len(begin))
    lengths = rows["length"].astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    if not (
        (lengths >= 2).all()
        and (rows["start"] == starts).all()
        and (np.diff(rows["number"]) == 1).all()
        and ((rows["task"] >= 0) & (rows["task"] < tasks)).all()
    ):
        raise RunError(f"{path}: holds rows that cannot be those of a replay shard")
    return rows


def count_tokens(rows: Array) -> int:
    """Records of the shard with these rows of `TRAJECTORY`."""
    return int(rows["length"].sum(dtype=np.int64))


class ShardReader:
    """Reads parts of the full shards in a folder, of which it keeps at most 64 open."""

    def __init__(
        self, folder: Path, record: np.dtype[Any], copies: LocalCopies | None = None
    ) -> None:
        self.folder, self.record, self.copies = folder, record, copies
        self._begins = len(header(record, 0))  # NumPy keeps room for the longest count
        self._open: OrderedDict[int, int] = OrderedDict()  # descriptors, the last used one last
        weakref.finalize(self, _close_all, self._open)

    def path(self, number: int) -> Path:
        """Of a shard's tokens."""
        return self.folder / f"tokens-{number:05}.npy"

    def check(self, number: int, count: int) -> None:
        """Raise `RunError` unless the shard's file has `count` records of this reader's type."""
        path, begin = self.path(number), header(self.record, count)
        with naming(path), open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(begin)) != begin or size != len(begin) + count * self.record.itemsize:
                raise RunError(
                    f"{path}: is not a shard of {count} records of these observation and action "
                    "spaces"
                )

    def read(self, number: int, first: int, out: Array) -> None:
        """Fill `out`, bytes of some records, with those from record `first`. Raises `RunError`."""
        descriptor = self._open.pop(number, None)
        if descriptor is None:
            path = self.path(number)
            near = self.copies.of(path) if self.copies else path
            descriptor = os.open(near, os.O_RDONLY | os.O_CLOEXEC)
            if len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
        self._open[number] = descriptor
        begin = self._begins + first * self.record.itemsize
        if os.preadv(descriptor, [out.data], begin) != out.nbytes:
            raise RunError(f"{self.path(number)}: another program has cut it")

    def forget(self, number: int) -> None:
        """Close a shard that is needed no more."""
        if (descriptor := self._open.pop(number, None)) is not None:
            os.close(descriptor)
        if self.copies:
            self.copies.drop(self.path(number))


def _close_all(descriptors: Mapping[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def compress(tokens: Path, folder: Path) -> None:
    """Write the compressed form of a shard's tokens into `folder`."""
    path = folder / f"{tokens.name}.zst"
    with naming(path), tokens.open("rb") as file, path.open("wb") as out:
        zstandard.ZstdCompressor(COMPRESSION_LEVEL).copy_stream(file, out)


def decompress(path: Path, folder: Path, size: int) -> str:
    """Undo `compress`; returns the SHA-256 of the file, which has `size` bytes.

    Raises `RunError` if it is damaged or has more, of which no more is written.
    """
    tokens, digest = folder / path.name.removesuffix(".zst"), hashlib.sha256()
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    with open_regular(path) as file, naming(tokens), tokens.open("wb") as out:
        try:
            with decompressor.stream_reader(file, closefd=False) as reader:
                while size >= 0 and (part := reader.read(min(CHUNK_BYTES, size + 1))):
                    size -= len(part)
                    if size >= 0:
                        out.write(part)
                        digest.update(part)
        except zstandard.ZstdError as error:
            raise RunError(f"{path}: is damaged ({error})") from None
    if size:
        raise RunError(f"{path}: does not hold as many records as its rows say")
    return digest.hexdigest()
