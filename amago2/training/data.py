"""Opening the data that a run learns from besides its own replay.

Each source becomes replay in the run's scratch folder when the run begins. So a run that is resumed
samples what it sampled before, whatever has become of the source.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.data import DataSource, online_share
from amago2.config.fields import LARGEST
from amago2.config.schema import AmagoConfig
from amago2.env.stored_spaces import check_data
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError
from amago2.files import make_folder, read_json, sync_tree, write_atomically
from amago2.replay import minari
from amago2.replay.buffer import Replay
from amago2.replay.mixture import Mixture
from amago2.replay.shards import record_type
from amago2.replay.stored import unpack
from amago2.training import checkpoint as ckpt

FOLDER = "data"
"""In a scratch folder: the replay of each source, by its place in the configuration."""
NOTE = "source.json"
"""In the folder of a source: what it is made from."""


def open_data(
    config: AmagoConfig, envs: VectorEnv, own: Replay, scratch: Path, base: Path
) -> Replay | Mixture:
    """What batches are sampled from: the run's own replay, the sources' data, or both.

    Paths of sources are relative to `base`. Raises `ConfigError` or `RunError` if a source cannot
    be read, or is of other spaces than the environment's.
    """
    if not config.data:
        return own
    folder = scratch / FOLDER
    replays = [_open(i, each, envs, folder, base) for i, each in enumerate(config.data)]
    shares = [source.share for source in config.data]
    if config.online:
        return Mixture([*replays, own], [*shares, online_share(config.data)])
    return Mixture(replays, shares)


def origins(config: AmagoConfig, scratch: Path) -> list[dict[str, Any]]:
    """For the run's record: each source with its digest, and how much there is of it."""
    found = []
    for i, source in enumerate(config.data or ()):
        note = read_json(scratch / FOLDER / str(i) / NOTE)
        found.append(source.model_dump(exclude_none=True) | note)
    return found


def check_same_data(config: AmagoConfig, known: Sequence[Mapping[str, Any]], base: Path) -> None:
    """Raise `ConfigError` unless each source is what the record of a run has `known` of it."""
    for i, (source, before) in enumerate(zip(config.data or (), known, strict=True)):
        name = _key(i, source)
        if source.replay:
            now = _run_digest(name, base / source.replay)
        else:
            now = minari.digest(minari.load(name, source.name))
        if now != before.get("sha256"):
            raise ConfigError(
                f"{name}: {source.name} is not what it was when the finished run learned from it"
            )


def _key(place: int, source: DataSource) -> str:
    return f"data.{place}.{'replay' if source.replay else 'minari'}"


def _open(place: int, source: DataSource, envs: VectorEnv, above: Path, base: Path) -> Replay:
    """The replay of a source in a folder of its own, which is filled if it is not there."""
    folder, name = above / str(place), _key(place, source)
    if not folder.exists():
        partial = above / f"{place}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
        if source.replay:
            digest = _unpack_run(name, base / source.replay, envs, partial)
        else:
            digest = _copy_minari(name, source.name, envs, partial)
        replay = _loaded(envs, partial)
        if not len(replay):
            raise ConfigError(f"{name}: {source.name} has no trajectory")
        note = {"trajectories": len(replay), "timesteps": replay.timesteps, "sha256": digest}
        write_atomically(partial / NOTE, json.dumps(note) + "\n")
        sync_tree(partial)
        ckpt.move_into_place(partial, folder)
    return _loaded(envs, folder)


def _loaded(envs: VectorEnv, folder: Path) -> Replay:
    replay = _empty(envs, folder)
    replay.load(folder)
    return replay


def _empty(envs: VectorEnv, folder: Path) -> Replay:
    record = record_type(envs.observations, envs.actions)
    return Replay(folder, record, LARGEST, "timesteps", LARGEST)


def _unpack_run(name: str, run: Path, envs: VectorEnv, folder: Path) -> str:
    """Unpack the replay of a finished run. Returns its digest."""
    digest = _run_digest(name, run)
    run_record.check(run, "checkpoint", "replay")
    spaces = ckpt.read_described_spaces(run / "checkpoint")
    check_data(f"{name}: {run}", spaces, envs.observations, envs.actions)
    record = record_type(envs.observations, envs.actions)
    unpack(run / "replay", folder, folder, record, envs.actions)
    return digest


def _run_digest(name: str, run: Path) -> str:
    try:
        return str(run_record.read(run)["record_sha256"])
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _copy_minari(name: str, dataset_id: str, envs: VectorEnv, folder: Path) -> str:
    """Copy a Minari data set. Returns its digest."""
    dataset, replay = minari.load(name, dataset_id), _empty(envs, folder)
    minari.copy_into(replay, name, dataset, envs.observations, envs.actions)
    replay.save(folder)
    return minari.digest(dataset)
