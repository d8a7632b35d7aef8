"""Copies of full shards on a local disk, for runs whose own folder lies on a network's.

The run's folder stays the only one that counts: copies are read instead of it, may vanish at any
moment, and are made anew wherever the run continues.
"""

import os
import shutil
from hashlib import sha256
from pathlib import Path

from amago2.files import atomic
from amago2.folders import SCRATCH, claim, clear, is_ours, release
from amago2.printing import warn


def copies_folder(disk: Path, run: Path) -> Path:
    """Where a run, whose own folder is `run`, has its copies on a disk that others use too."""
    return disk / f"amago2-{sha256(os.fsencode(run)).hexdigest()[:12]}"


class LocalCopies:
    """A folder of copies, each made when its shard is read for the first time."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` if there is something of anybody else in the folder."""
        claim(folder, SCRATCH)
        self.folder = folder
        self._full = False
        clear(folder, self._names())  # a killed run's: it writes its last shards anew

    def of(self, shard: Path) -> Path:
        """The copy of a shard; the shard itself where there is no room for one."""
        copy = self.folder / shard.name
        if copy.exists() or self._full:
            return copy if copy.exists() else shard
        try:
            with atomic(copy, durable=False) as temporary:
                shutil.copyfile(shard, temporary)
        except OSError as error:
            self._full = True
            warn(f"amago2: no more copies of replay ({error}); the rest is read where it is")
            return shard
        return copy

    def drop(self, shard: Path) -> None:
        """Remove the copy of a shard that is needed no more."""
        (self.folder / shard.name).unlink(missing_ok=True)
        self._full = False

    def close(self) -> None:
        """Remove all of it."""
        if is_ours(self.folder, SCRATCH):
            release(self.folder, SCRATCH, self._names())

    def _names(self) -> set[str]:
        return {path.name for path in self.folder.glob("tokens-*.npy")}
