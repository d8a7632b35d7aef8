"""What is checked before anything runs, so that a mistake costs seconds and not hours."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from amago2.errors import ConfigError
from workflow.config.parameters import unknown
from workflow.dag.plan import Dag
from workflow.execute import failures
from workflow.setup import checkout
from workflow.setup.environment import torch_for_this_machine


def check_checkout(dag: Dag) -> None:
    """Raise `ConfigError` if this folder does not allow to make what is to be made.

    What the doctor asks of the checkout, which would otherwise be found out after all training.
    """
    files = list(_files(dag))
    for path in files:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder where a file belongs; move it, or remove it")
    findings = [checkout.folders({path.parent for path in files})]
    if files:
        findings += [checkout.cache(), checkout.git(), checkout.pointers()]
    for finding in findings:
        if finding.mark == "missing":
            raise ConfigError(f"{finding.what}: {finding.found}; {finding.remedy}")


def _files(dag: Dag) -> Iterator[Path]:
    """Everything that will be written."""
    for run in dag.pending:
        yield from (run.record, run.settings, run.log, run.scratch / "progress.json")
    for target in dag.stale:
        yield from (target.provenance, target.stamp, target.fingerprint_file, target.log)
        yield from map(Path, target.fingerprint.outputs)


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
    if done.returncode < 0:
        killer = failures.signal_name(-done.returncode)
        raise ConfigError(f"params/figures, params/tables: their check was killed by {killer}")
    if done.returncode:
        raise ConfigError("\n".join(failures.without_traceback(done.stderr.strip().splitlines())))
