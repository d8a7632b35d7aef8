"""What is checked before anything runs, so that a mistake costs seconds and not hours."""

import subprocess
import sys
from pathlib import Path

from amago2.errors import ConfigError
from workflow.config.parameters import unknown
from workflow.dag.plan import Dag
from workflow.setup.environment import torch_for_this_machine


def check_devices(dag: Dag) -> None:
    """Raise `ConfigError` if runs need a GPU and this machine has none."""
    needing = [run for run in dag.pending if run.config.device == "cuda"]
    if needing and torch_for_this_machine() == "cpu":
        raise ConfigError(
            f"{len(needing)} runs of budget {dag.selection.budget} need a GPU and this machine has "
            "none: choose a smaller budget, or a cluster's profile (make ... PROFILE=slurm)"
        )


def check_profile(profile: str) -> None:
    """Raise `ConfigError` for a profile that does not exist."""
    known = sorted(path.parent.name for path in Path("profiles").glob("*/config.yaml"))
    if profile and profile not in known:
        raise ConfigError(unknown(f"profile {profile}", profile, known))


def check_drawing() -> None:
    """Raise `ConfigError` for a mistake in the parameters of figures and tables.

    In a process of its own, which imports every figure's module.
    """
    command = [sys.executable, "-m", "workflow", "job", "check-figures"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(done.stderr.strip())
