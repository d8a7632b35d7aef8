"""Continuing a finished run for more epochs, to the same bits as if it had never stopped.

The finished run's folder is turned back into the scratch folder of an unfinished one. That takes
its checkpoint and its replay, which are first checked against the digests in its record.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amago2.config.schema import AmagoConfig, load
from amago2.errors import ConfigError, RunError
from amago2.files import check_part, read_json, sha256, write_atomically
from amago2.replay.shards import unpack
from amago2.training import checkpoint as ckpt
from amago2.training.scratch import TABLES

MAY_DIFFER = "budget, device, threads, collector.epochs, evaluation, checkpoint"
"""Parameters that a continued run may change."""

HISTORY = {"started": str, "resumptions": int, "wall_s": int | float, "cpu_s": int | float}
"""Keys of a record that the run which continues it goes on with, and the types of their values."""
NOTE = "continued_from.json"
"""In a scratch folder: which finished run it was filled from."""


def continue_run(config: AmagoConfig, finished: Path, scratch: Path) -> None:
    """Fill the scratch folder of a run of `config` that starts where `finished` ended.

    Raises `ConfigError` if `config` differs from that of `finished` in more than it may, or has no
    more epochs, and `RunError` if part of `finished` is missing or damaged.
    """
    record = _record(finished)
    _check_config(config, finished)
    for part in ("checkpoint", "replay"):
        check_part(finished, part, record)
    checkpoint = ckpt.read(finished / "checkpoint")
    folder = scratch / "checkpoints" / f"epoch-{_epoch(checkpoint, finished):08}"
    for made in (folder, scratch / "replay"):
        made.mkdir(parents=True)
    unpack(finished / "replay", scratch / "replay", folder)
    for table in TABLES:
        if (finished / table).exists():
            shutil.copyfile(finished / table, scratch / table)
    checkpoint.config = config
    checkpoint.state |= _history(record, finished)
    lengths = {Path(table).stem: scratch / table for table in TABLES if (scratch / table).exists()}
    checkpoint.state["logs"] = {name: path.stat().st_size for name, path in lengths.items()}
    ckpt.write(folder, checkpoint)
    write_atomically(scratch / NOTE, json.dumps(_note(finished)) + "\n")


def check_origin(finished: Path | None, out: Path, scratch: Path) -> None:
    """Raise `ConfigError` if the run is under way, or finished, and did not start from `finished`.

    Says so if it did start from a finished run and none is asked for.
    """
    if (out / "record.json").exists():
        where, known = out, read_json(out / "record.json").get("continued_from")
    elif (scratch / "config.yaml").exists():
        where, known = scratch, read_json(scratch / NOTE) or None
    else:
        return
    if finished is None:
        if known:
            print(f"{where}: this run continues a finished one, of hash {known['hash']}")
    elif known != _note(finished):
        began = f"from a finished run of hash {known['hash']}" if known else "from nothing"
        raise ConfigError(
            f"{where}: this run has begun already, {began} and not from {finished}; leave out "
            "--from to go on with it, or name another folder with --out"
        )


def _note(finished: Path) -> dict[str, Any]:
    """What identifies the finished run that another continues."""
    record = _record(finished)
    state = read_json(finished / "checkpoint" / "state.json")
    manifest = finished / "checkpoint" / "manifest.json"
    digest = sha256(manifest) if manifest.is_file() else None
    return {"hash": record["hash"], "epoch": state.get("epoch"), "checkpoint": digest}


def _record(run: Path) -> dict[str, Any]:
    record = read_json(run / "record.json")
    if not isinstance(record.get("hash"), str):
        raise ConfigError(f"{run}: no finished run here (no readable record.json)")
    return record


def _history(record: Mapping[str, Any], finished: Path) -> dict[str, Any]:
    """When the finished run began, how often it was resumed and how long it took."""
    history = {}
    for key, kind in HISTORY.items():
        value = record.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or str(value)[0] == "-":
            raise RunError(f"{finished / 'record.json'}: {key} is {value!r}, which it cannot be")
        history[key] = value
    return history


def _epoch(checkpoint: ckpt.Checkpoint, finished: Path) -> int:
    """The epoch at which the finished run ended."""
    epoch, last = checkpoint.state.get("epoch"), checkpoint.config.collector.epochs
    if type(epoch) is not int or epoch != last:
        raise RunError(
            f"{finished / 'checkpoint'}: state.json says epoch {epoch!r}, which must be {last}, "
            "the number of epochs of its configuration"
        )
    return epoch


def _check_config(config: AmagoConfig, finished: Path) -> None:
    before = load(finished / "config.yaml")
    old, new = _unchanging_keys(before), _unchanging_keys(config)
    for key in old:
        if old[key] != new[key]:
            raise ConfigError(
                f"{finished}: {key} is {old[key]} there and {new[key]} here; a continued run may "
                f"change {MAY_DIFFER} only"
            )
    if config.collector.epochs <= before.collector.epochs:
        raise ConfigError(
            f"{finished}: already has {before.collector.epochs} epochs; "
            "set collector.epochs to more"
        )


def _unchanging_keys(config: AmagoConfig) -> dict[str, Any]:
    may_differ: Any = {"budget", "device", "threads", "evaluation", "checkpoint"}
    content = config.model_dump(
        mode="json", exclude={**dict.fromkeys(may_differ, True), "collector": {"epochs"}}
    )
    # Of the evaluation, the probe alone must agree: it adds a table.
    flat: dict[str, Any] = {"evaluation.probe": config.evaluation.probe}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat
