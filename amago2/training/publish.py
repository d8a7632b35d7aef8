"""Publishing a finished run: its files move into place, the record last."""

import json
import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amago2.files import sums, write_atomically
from amago2.training import checkpoint as ckpt
from amago2.training.hardware import cpu_name, peak_rss_bytes
from amago2.training.trainer import Trainer

PUBLISHED = {"config.yaml", "checkpoint", "replay", "tensorboard", "checkpoint.dvc", "replay.dvc"}
PUBLISHED |= {f"{table}.csv" for table in ("metrics", "evaluations", "compute", "probe")}
"""What may be in a run's folder before it is finished."""
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

    Everything is first written to a staging folder, then moved file by file.
    """
    trainer.tensorboard.close()
    out.mkdir(parents=True, exist_ok=True)
    staged = trainer.scratch / "publish"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    trainer.write_checkpoint(staged / "checkpoint", finished=True)
    shutil.copytree(trainer.scratch / "tensorboard", staged / "tensorboard")
    for name in ("config.yaml", *(f"{table}.csv" for table in trainer.tables)):
        shutil.copyfile(trainer.scratch / name, staged / name)
    for path in sorted(staged.iterdir()):
        ckpt.move_into_place(path, out / path.name)
    write_atomically(
        out / "record.json", json.dumps(make_record(trainer, out, provenance), indent=1) + "\n"
    )


def make_record(trainer: Trainer, out: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Content of `record.json`: what was run, where, for how long, and digests of its artifacts."""
    config = trainer.config
    return {
        "hash": config.hash,
        "training_version": config.training_version,
        **{key: provenance.get(key) for key in PROVENANCE},
        "device": config.device,
        "cpu": cpu_name(),
        "threads": config.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "gymnasium")},
        },
        "started": trainer.started,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumptions": trainer.resumptions,
        "wall_s": round(trainer.wall_s, 3),
        "cpu_s": round(trainer.cpu_s, 3),
        "env_steps": trainer.env_steps,
        "updates": trainer.updates,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "peak_rss_bytes": peak_rss_bytes(),
        "gpu": {"name": trainer.gpu.name} if trainer.gpu.name else None,
        "continued_from": _continued_from(trainer.scratch),
        **{f"{artifact}_sha256": sums(out / artifact) for artifact in trainer.ARTIFACTS},
    }


def _continued_from(scratch: Path) -> Any:
    """What `amago2.training.continue_run` noted, if the run continued a finished one."""
    path = scratch / "continued_from.json"
    return json.loads(path.read_text()) if path.exists() else None
