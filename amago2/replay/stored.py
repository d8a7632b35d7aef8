"""Replay as it lies in a checkpoint or a finished run: its `replay.json`, and how to unpack it."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from amago2.env.spaces import ActionSpec, Array
from amago2.errors import RunError, first_mistake
from amago2.files import naming, open_regular, sha256, write_atomically
from amago2.replay.shards import (
    DAMAGED,
    ShardReader,
    count_tokens,
    decompress,
    header,
    read_rows,
)
from amago2.run_record import Digests

NAME = "replay.json"
MAX_BYTES = 64 * 2**20
Count = Annotated[int, Field(ge=0, le=2**53)]


class ReplayState(BaseModel):
    """What `replay.json` says."""

    model_config = ConfigDict(strict=True, extra="forbid")
    shard: Count
    """Number of the open shard."""
    evicted: Count
    total: Count
    """Trajectories ever dropped and added."""
    tasks: list[Annotated[str, Field(max_length=100_000)]]
    oldest_shard: Count
    full_sha256: Digests
    """Of both files of each full shard that holds live trajectories, not compressed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.oldest_shard > self.shard or self.evicted > self.total:
            raise ValueError("its numbers are not in order")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("it names a task twice")
        files = 2 * len(self.full)  # asked first, since the numbers may be any
        if len(self.full_sha256) != files or self.full_sha256.keys() != {
            name for k in self.full for name in shard_files(k)
        }:
            raise ValueError("it has not the SHA-256 of each full shard")
        return self

    @property
    def full(self) -> range:
        """Numbers of the full shards."""
        return range(self.oldest_shard, self.shard)

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        write_atomically(folder / NAME, json.dumps(self.model_dump(), indent=1) + "\n")


def shard_files(number: int) -> tuple[str, str]:
    """Names of the two files of a shard."""
    return f"tokens-{number:05}.npy", f"trajectories-{number:05}.npy"


def read_state(folder: Path) -> ReplayState:
    """What `ReplayState.write` wrote. Raises `RunError`."""
    path = folder / NAME
    try:
        with naming(path), open_regular(path, MAX_BYTES) as file:
            return ReplayState.model_validate(json.loads(file.read()))
    except ValidationError as error:
        raise RunError(f"{path}: {first_mistake(error)}") from None
    except FileNotFoundError:
        raise RunError(f"{path}: is missing") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def check_rows(state: ReplayState, rows: dict[int, Array]) -> None:
    """Raise `RunError` unless the rows of all shards, by number, are those of `state`."""
    numbers = np.concatenate([rows[number]["number"] for number in sorted(rows)])
    if len(numbers) == 0:
        right = state.total == state.evicted == 0
    else:
        right = (
            (np.diff(numbers) == 1).all()
            and 0 <= numbers[0] <= state.evicted <= numbers[-1]
            and numbers[-1] == state.total - 1
        )
    if not right:
        raise RunError(f"the trajectories of replay shards are not those that {NAME} tells of")


def unpack(
    published: Path, shards: Path, last: Path, record: np.dtype[Any], actions: ActionSpec
) -> None:
    """Undo `Replay.publish`: full shards go to `shards`, what `Replay.save` wrote to `last`.

    Both folders must exist. Anybody may have written what is in `published`: no more is unpacked
    than its rows tell of, and than the disk has room for. Raises `RunError` if it is not replay of
    records of type `record`, for these `actions`.
    """
    state = read_state(published)
    rows = {k: read_rows(published, k, len(state.tasks)) for k in (*state.full, state.shard)}
    check_rows(state, rows)
    sizes = {
        number: len(header(record, 0)) + count_tokens(own) * record.itemsize
        for number, own in rows.items()
    }
    if sum(sizes.values()) > (free := shutil.disk_usage(last).free):
        raise RunError(
            f"{last}: unpacked, {published} takes {sum(sizes.values()) / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free"
        )
    state.write(last)
    for number, size in sizes.items():
        folder = last if number == state.shard else shards
        tokens, trajectories = shard_files(number)
        shutil.copyfile(published / trajectories, folder / trajectories)
        digest = decompress(published / f"{tokens}.zst", folder, size)
        found = {tokens: digest, trajectories: sha256(folder / trajectories)}
        for name in found.keys() & state.full_sha256.keys():
            if found[name] != state.full_sha256[name]:
                raise RunError(f"{published}: {name}, unpacked, {DAMAGED}")
        ShardReader(folder, record).check(number, count_tokens(rows[number]))
        _check_tokens(folder / tokens, record, actions)


def _check_tokens(path: Path, record: np.dtype[Any], actions: ActionSpec) -> None:
    """Raise `RunError` if records hold what no environment and agent could have made."""
    tokens = np.fromfile(path, record, offset=len(header(record, 0)))
    right = (tokens["time"] >= 0).all() and np.isfinite(tokens["reward"]).all()
    if not (right and actions.holds(tokens["action"])):
        raise RunError(f"{path.name}: holds times, rewards or actions that are none")
