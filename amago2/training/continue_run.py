"""Continuing a finished run for more epochs, to the same bits as if it had never stopped.

The finished run's folder is turned back into the scratch folder of an unfinished one. That takes
its checkpoint and its replay, which are first checked against the digests in its record.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from amago2.config.schema import AmagoConfig, load
from amago2.errors import ConfigError
from amago2.files import check_part, sha256, write_atomically
from amago2.replay.shards import unpack
from amago2.training import checkpoint as ckpt

MAY_DIFFER = "budget, device, threads, collector.epochs, evaluation, checkpoint"
"""Parameters that a continued run may change."""


def continue_run(config: AmagoConfig, finished: Path, scratch: Path) -> None:
    """Make `scratch` the scratch folder of a run of `config` that starts where `finished` ended.

    Does nothing if `scratch` exists: that run is then already under way. Raises `ConfigError` if
    `config` differs from that of `finished` in more than it may, or has no more epochs, and
    `RunError` if part of `finished` is missing or damaged.
    """
    if scratch.exists():
        return
    record = _record(finished)
    _check_config(config, finished)
    for part in ("checkpoint", "replay"):
        check_part(finished, part, record)
    partial = scratch.with_name(f"{scratch.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "replay").mkdir(parents=True)
    checkpoint = ckpt.read(finished / "checkpoint")
    folder = partial / "checkpoints" / f"epoch-{checkpoint.state['epoch']:08}"
    folder.mkdir(parents=True)
    unpack(finished / "replay", partial / "replay", folder)
    for table in finished.glob("*.csv"):
        shutil.copyfile(table, partial / table.name)
    checkpoint.config = config
    checkpoint.state |= {key: record[key] for key in ("started", "resumptions", "wall_s", "cpu_s")}
    checkpoint.state["logs"] = {path.stem: path.stat().st_size for path in partial.glob("*.csv")}
    ckpt.write(folder, checkpoint)
    note = {"hash": record["hash"], "epoch": checkpoint.state["epoch"]}
    note["checkpoint"] = sha256(finished / "checkpoint" / "manifest.json")
    write_atomically(partial / "continued_from.json", json.dumps(note) + "\n")
    write_atomically(partial / "config.yaml", config.to_yaml())
    partial.rename(scratch)


def _record(run: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((run / "record.json").read_text())
    except (OSError, ValueError):
        raise ConfigError(f"{run}: no finished run here (no readable record.json)") from None
    return content


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
