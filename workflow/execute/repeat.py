"""Train a sample of a budget's finished runs again, and compare the bits of what comes out.

The same parameters and seed give the same bits on the same kind of processor with the same
packages. The sample is the runs with the smallest hashes: a draw that nobody chose, and the same
everywhere.
"""

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.errors import ConfigError
from workflow.estimate.hardware import cores

NOT_COMPARED = ("config.yaml", "manifest.json", "compute.csv")
"""Files that are no outcome: the configuration, which later versions may write with more keys, what
lists its digest, and the table of times."""
ORIGIN = ("cpu", "threads", "versions", "lock_sha256")
"""Keys of a record that say where its bits can be expected again."""
Say = Callable[[str], None]


def sample(folder: Path, share: float) -> list[Path]:
    """A share of the finished runs of a budget, at least one: those with the smallest hashes.

    Raises `ConfigError` if there is none.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share is {share}: must be a number from 0 to 1")
    runs = [path.parent for path in folder.glob(f"runs/*/*/*/{run_record.NAME}")]
    if not runs:
        raise ConfigError(
            f"{folder}: no finished run here; `make reproduce BUDGET={folder.name}` makes them"
        )
    runs.sort(key=lambda run: (run.name.rpartition("-")[2], run))
    return runs[: max(1, math.ceil(share * len(runs) - 1e-9))]


def repeat(folder: Path, share: float, say: Say = print) -> list[str]:
    """Train the sample again, a run per core at once; sentences on what differs.

    Changes nothing in `folder`. Raises `ConfigError` if there is no run.
    """
    runs = sample(folder, share)
    hours = sum(run_record.read(run)["cpu_s"] for run in runs) / 3600
    say(f"runs of {folder} to train again: {len(runs)}; they took {hours:.2g} CPU hours")
    wrong: list[str] = []
    with ThreadPoolExecutor(cores()) as pool:
        for run, found in zip(runs, pool.map(_again, runs), strict=True):
            say(f"{run.relative_to(folder / 'runs')}: {'differs' if found else 'the same bits'}")
            wrong += found
    return wrong


def _again(run: Path) -> list[str]:
    """Sentences on what differs between a run and one trained anew from its configuration."""
    with tempfile.TemporaryDirectory() as temporary:
        settings, made = Path(temporary) / f"{run.name}.yaml", Path(temporary) / run.name
        shutil.copyfile(run / "config.yaml", settings)  # the job writes beside it
        command = [
            sys.executable, "-m", "workflow", "job", "train", str(settings),
            "--out", str(made), "--scratch", f"{made}.scratch", "--cores", "1",
        ]  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            last = [f"exit code {ended.returncode}", *ended.stderr.strip().splitlines()][-1]
            return [f"{run}: did not train again: {last}"]
        return list(differences(run, run_record.read(run), run_record.read(made)))


def differences(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on the files of a run whose digests are others in the new record."""
    elsewhere = [key for key in ORIGIN if before.get(key) != now.get(key)]
    why = f" (another {', '.join(elsewhere)})" if elsewhere else ""
    for key in sorted(run_record.DIGESTS):
        old, new = before.get(key, {}), now.get(key, {})
        for name in sorted((old.keys() | new.keys()).difference(NOT_COMPARED)):
            if old.get(name) != new.get(name):
                part = key.removesuffix("_sha256")
                yield f"{run}: {name if part == 'files' else f'{part}/{name}'} differs{why}"
