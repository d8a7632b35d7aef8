"""Going on from a finished run: to more epochs, to the same bits as if it had never stopped.

A finished run's folder is turned back into the scratch folder of an unfinished one. That needs its
checkpoint and its replay; both are checked against the digests in its record before they are used.
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


def adopt(config: AmagoConfig, origin: Path, scratch: Path) -> None:
    """Make `scratch` that of a run of `config` which has got as far as `origin` did.

    Does nothing if `scratch` is there: then that run goes on. Raises `ConfigError` if `config` is
    not that of `origin` but for more epochs, and `RunError` if part of `origin` is missing or
    damaged.
    """
    if scratch.exists():
        return
    record = _record(origin)
    _check_config(config, origin)
    for part in ("checkpoint", "replay"):
        check_part(origin, part, record)
    partial = scratch.with_name(f"{scratch.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "replay").mkdir(parents=True)
    kept = ckpt.read(origin / "checkpoint")
    folder = partial / "checkpoints" / f"epoch-{kept.state['epoch']:08}"
    folder.mkdir(parents=True)
    unpack(origin / "replay", partial / "replay", folder)
    for table in origin.glob("*.csv"):
        shutil.copyfile(table, partial / table.name)
    kept.config = config
    kept.state |= {key: record[key] for key in ("started", "resumptions", "wall_s", "cpu_s")}
    kept.state["logs"] = {path.stem: path.stat().st_size for path in partial.glob("*.csv")}
    ckpt.write(folder, kept)
    source = {"hash": record["hash"], "epoch": kept.state["epoch"]}
    source["checkpoint"] = sha256(origin / "checkpoint" / "manifest.json")
    write_atomically(partial / "origin.json", json.dumps(source) + "\n")
    write_atomically(partial / "config.yaml", config.to_yaml())
    partial.rename(scratch)


def _record(run: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((run / "record.json").read_text())
    except (OSError, ValueError):
        raise ConfigError(f"{run}: no finished run here (no readable record.json)") from None
    return content


def _check_config(config: AmagoConfig, origin: Path) -> None:
    before = load(origin / "config.yaml")
    one, other = _must_agree(before), _must_agree(config)
    for key in one:
        if one[key] != other[key]:
            raise ConfigError(
                f"{origin}: {key} is {one[key]} there and {other[key]} here; a run that goes on "
                f"may change {MAY_DIFFER} only"
            )
    if config.collector.epochs <= before.collector.epochs:
        raise ConfigError(
            f"{origin}: has {before.collector.epochs} epochs already; set collector.epochs to more"
        )


def _must_agree(config: AmagoConfig) -> dict[str, Any]:
    aside: Any = {"budget", "device", "threads", "evaluation", "checkpoint"}
    content = config.model_dump(
        mode="json", exclude={**dict.fromkeys(aside, True), "collector": {"epochs"}}
    )
    flat: dict[str, Any] = {"evaluation.probe": config.evaluation.probe}  # has a table of its own
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat
