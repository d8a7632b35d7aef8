"""Continuing a finished run for more epochs, to the same bits as if it had never stopped.

The finished run's folder is turned back into the scratch folder of an unfinished one. That takes
its checkpoint and its replay, which are first checked against the digests in its record.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.schema import AmagoConfig, load
from amago2.config.validation import differences
from amago2.env.stored_spaces import read_spaces
from amago2.errors import ConfigError, RunError
from amago2.files import read_json, sha256, sync_tree, write_atomically
from amago2.printing import say
from amago2.replay.shards import record_type
from amago2.replay.stored import unpack
from amago2.training import checkpoint as ckpt
from amago2.training import initial_weights
from amago2.training.best import BEST
from amago2.training.data import check_same_data
from amago2.training.logs import describe_log

MAY_DIFFER = "budget, device, threads, collector.epochs, evaluation, checkpoint"
"""Parameters that a continued run may change."""

HISTORY = ("started", "resumptions", "dropped_rollouts", "wall_s", "cpu_s")
"""Keys of a record that the run which continues it goes on with."""
NOTE = "continued_from.json"
"""In a scratch folder: which finished run it was filled from."""


def continue_run(config: AmagoConfig, finished: Path, scratch: Path) -> None:
    """Fill the scratch folder of a run of `config` that starts where `finished` ended.

    Raises `ConfigError` if `config` differs from that of `finished` in more than it may, or has no
    more epochs, and `RunError` if part of `finished` is missing or damaged.
    """
    known = run_record.check(finished, "checkpoint", "replay")
    _check_config(config, finished)
    check_same_data(config, known.get("data", []), Path.cwd())
    checkpoint = ckpt.read(finished / "checkpoint")
    folder = scratch / "checkpoints" / f"epoch-{_epoch(checkpoint, finished):08}"
    for made in (folder, scratch / "replay"):
        made.mkdir(parents=True)
    try:
        observations, actions = read_spaces(checkpoint.spaces)
    except ValueError as error:
        raise RunError(f"{finished / 'checkpoint'}: state.json: spaces: {error}") from None
    record = record_type(observations, actions)
    unpack(finished / "replay", scratch / "replay", folder, record, actions)
    tables = [table for table in run_record.TABLES if (finished / f"{table}.csv").exists()]
    for table in tables:
        shutil.copyfile(finished / f"{table}.csv", scratch / f"{table}.csv")
    if (finished / BEST).is_dir():
        run_record.check_artifact(finished, BEST, known)
        shutil.copytree(finished / BEST, scratch / BEST)
    checkpoint.config = config
    checkpoint.state |= {key: known[key] for key in HISTORY}
    checkpoint.state["exact"] = known["resumed"] != "not bit-exact"
    checkpoint.state["logs"] = {name: describe_log(scratch / f"{name}.csv") for name in tables}
    ckpt.write(folder, checkpoint)
    write_atomically(scratch / NOTE, json.dumps(_note(finished)) + "\n")
    if began := known.get("initial_weights"):
        write_atomically(scratch / initial_weights.NOTE, json.dumps(began) + "\n")
    sync_tree(scratch)


def check_origin(finished: Path | None, out: Path, scratch: Path) -> None:
    """Raise `ConfigError` if the run is under way, or finished, and did not start from `finished`.

    Says so if it did start from a finished run and none is asked for.
    """
    if (out / "record.json").exists():
        where, known = out, run_record.read(out).get("continued_from")
    elif (scratch / "config.yaml").exists():
        where, known = scratch, read_json(scratch / NOTE) or None
    else:
        return
    origin = known.get("hash") if isinstance(known, dict) else None
    if finished is None:
        if origin:
            say(f"{where}: this run continues a finished one, of hash {origin}")
    elif known != _note(finished):
        began = f"from a finished run of hash {origin}" if origin else "from nothing"
        raise ConfigError(
            f"{where}: this run has begun already, {began} and not from {finished}; leave out "
            "--from to go on with it, or name another folder with --out"
        )


def _note(finished: Path) -> dict[str, Any]:
    """What identifies the finished run that another continues."""
    record = run_record.read(finished)
    state = read_json(finished / "checkpoint" / "state.json")
    manifest = finished / "checkpoint" / "manifest.json"
    digest = sha256(manifest) if manifest.is_file() else None
    return {"hash": record["hash"], "epoch": state.get("epoch"), "checkpoint": digest}


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
    if differing := differences(_unchanging(before), _unchanging(config)):
        raise ConfigError(
            f"{finished}: {'; '.join(differing[:4])}; a continued run may change {MAY_DIFFER} "
            "only; --weights instead of --from starts a new run from its weights"
        )
    if config.collector.epochs <= before.collector.epochs:
        raise ConfigError(
            f"{finished}: already has {before.collector.epochs} epochs; "
            "set collector.epochs to more"
        )


def _unchanging(config: AmagoConfig) -> dict[str, Any]:
    content = config.hashed
    for key in ("budget", "device", "threads"):
        del content[key]
    del content["collector"]["epochs"]
    # Of the evaluation, the probe alone must agree: it adds a table.
    return content | {"evaluation": {"probe": content["evaluation"].get("probe")}}
