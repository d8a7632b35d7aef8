"""Train one run of the DAG: say what it is made with, then become `amago2 train`.

python -m workflow.train SETTINGS.yaml --out RUN --scratch SCRATCH
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
CODE = ("amago2", "envs", "workflow", "params", "containers", "Snakefile", "pyproject.toml")
"""What can change a run; anything else may be edited while it trains."""


def provenance(settings: Path) -> dict[str, Any]:
    """Where the code, its environment and the parameters come from; None where it is not known."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(status)
        if (status := _git("status", "--porcelain", *CODE)) is not None
        else None,
        "lock_sha256": os.environ.get("AMAGO2_LOCK_SHA256") or locks_digest(),
        "container_digest": os.environ.get("AMAGO2_CONTAINER_DIGEST") or None,
        "parameters_sha256": hashlib.sha256(settings.read_bytes()).hexdigest(),
    }


def locks_digest() -> str | None:
    """SHA-256 of the locks that this Python was installed from; None for any other environment."""
    if Path(sys.prefix) != ROOT / ".venv":
        return None
    torch = "cpu" if importlib.metadata.version("torch").endswith("+cpu") else "cuda"
    locks = [ROOT / "containers" / name for name in ("base.lock", f"torch-{torch}.lock")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()


def _git(*arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; never returns, since the trainer takes this process over."""
    parser = argparse.ArgumentParser(prog="python -m workflow.train", description=__doc__)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--out", required=True)
    parser.add_argument("--scratch", required=True)
    given = parser.parse_args(arguments)
    notes = given.settings.with_suffix(".provenance.json")
    write_atomically(notes, json.dumps(provenance(given.settings), indent=1) + "\n")
    command = [sys.executable, "-m", "amago2.cli", "train", str(given.settings)]
    command += ["--out", given.out, "--scratch", given.scratch, "--provenance", str(notes)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
