"""A few trials of each kind; `make chaos` runs all of them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.chaos.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_trials_of_each_kind_end_well() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--short", "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 silent wrong results, 0 losses, 0 tracebacks, 0 hangs" in done.stdout


def test_there_are_as_many_trials_as_are_promised() -> None:
    counts = {kind.name: kind.count for kind in KINDS}
    assert len(counts) == len(KINDS)
    assert counts["kill-trainer"] + counts["kill-workers"] >= 100
    assert counts["kill-operation"] >= 100
    assert counts["frozen-image"] >= 50
    assert counts["hostile"] >= 200
    assert sum(count for name, count in counts.items() if name.startswith("damage")) >= 2000
    assert counts["environment"] >= 60


def test_a_trial_can_be_repeated_alone() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--only", "no-such-kind"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no kind no-such-kind" in done.stdout
