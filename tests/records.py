"""Records of made-up finished runs, and of damaged ones that a stranger has sealed again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.schema import TRAINING_VERSION
from amago2.files import sha256

FACTS: Mapping[str, Any] = {
    "hash": "0" * 8, "training_version": TRAINING_VERSION, "started": "2024-01-01T00:00:00+00:00",
    "ended": "2024-01-01T01:00:00+00:00", "resumptions": 0, "resumed": "never",
    "dropped_rollouts": 0, "wall_s": 60.0, "cpu_s": 60.0,
    "env_steps": 520, "updates": 4,
}  # fmt: skip


def write_record(run: Path, facts: Mapping[str, Any] = {}) -> None:
    """Record the files that are in a run's folder, as `publish` does."""
    found: dict[str, Any] = {"checkpoint_sha256": {}} | run_record.digests(run)
    (run / run_record.NAME).write_text(run_record.seal({**FACTS, **facts, **found}))


def reseal(run: Path) -> None:
    """Make manifest and record agree with what is in a finished run's folder, as a stranger can."""
    checkpoint = run / "checkpoint"
    files = sorted(path for path in checkpoint.iterdir() if path.name != "manifest.json")
    manifest = {path.name: sha256(path) for path in files}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    record = json.loads((run / run_record.NAME).read_text())
    (run / run_record.NAME).write_text(run_record.seal(record | run_record.digests(run)))
