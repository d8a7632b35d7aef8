"""Publishing a finished run: its files move into place, the record last."""

import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.files import read_json, sync_tree, write_atomically
from amago2.folders import RUN, claim, clear
from amago2.training import checkpoint as ckpt
from amago2.training.best import BEST
from amago2.training.hardware import cpu_name, peak_rss_bytes
from amago2.training.torch_settings import product_precision
from amago2.training.trainer import Trainer

PARTIAL = ".publish"
"""Folder within a run's own, hence on its disk, in which everything is written first."""
PROVENANCE = (
    "git_commit",
    "git_dirty",
    "lock_sha256",
    "container_digest",
    "parameters_sha256",
    "planned_s",
)
"""Keys of a record that the caller knows and the trainer does not."""


def publish(trainer: Trainer, out: Path, provenance: Mapping[str, Any]) -> None:
    """Put the finished run into `out`. The scratch folder stays complete until the record is there.

    Everything is first written to a folder within `out`, then moved file by file. The record, which
    claims that all of it is there, is moved last, once all of it has reached the disk.
    """
    claim(out, RUN)
    clear(out, {PARTIAL})
    staged = out / PARTIAL
    staged.mkdir()
    trainer.write_checkpoint(staged / "checkpoint", finished=True)
    if (best := trainer.scratch / BEST).exists():
        shutil.copytree(best, staged / BEST)
    shutil.copytree(trainer.tensorboard.path.parent, staged / "tensorboard")
    for name in ("config.yaml", *(f"{table}.csv" for table in trainer.tables)):
        shutil.copyfile(trainer.scratch / name, staged / name)
    sync_tree(staged)
    digests = run_record.digests(staged)
    for path in sorted(staged.iterdir()):
        ckpt.move_into_place(path, out / path.name)
    record = run_record.seal(make_record(trainer, provenance) | digests)
    write_atomically(staged / run_record.NAME, record)
    ckpt.move_into_place(staged / run_record.NAME, out / run_record.NAME)
    unmark(out)


def unmark(out: Path) -> None:
    """Remove what only an unfinished run has in its folder, the marker last."""
    clear(out, {PARTIAL})
    clear(out, {RUN})


def make_record(trainer: Trainer, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the record says besides digests: what was run, where, and for how long."""
    config = trainer.config
    return {
        "hash": config.hash,
        "training_version": config.training_version,
        **{key: provenance.get(key) for key in PROVENANCE},
        "device": config.device,
        "precision": product_precision(config),
        "cpu": cpu_name(),
        "threads": config.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "gymnasium")},
        },
        "started": trainer.started,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumptions": trainer.resumptions,
        "resumed": trainer.resumed,
        "dropped_rollouts": trainer.replayed.dropped,
        "wall_s": round(trainer.wall_s, 3),
        "cpu_s": round(trainer.cpu_s, 3),
        "env_steps": trainer.env_steps,
        "updates": trainer.updates,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "peak_rss_bytes": peak_rss_bytes(),
        "gpu": {"name": trainer.gpu.name} if trainer.gpu.name else None,
        "continued_from": read_json(trainer.scratch / "continued_from.json") or None,
        **trainer.extra_record(),
    }
