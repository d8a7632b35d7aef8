"""What is checked before anything runs, so that a mistake costs seconds and not hours."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from amago2 import run_record
from amago2.errors import ConfigError, RunError, sentence
from workflow.config.parameters import unknown
from workflow.dag.plan import Dag
from workflow.execute import failures
from workflow.setup import checkout, driver
from workflow.setup.checks import no_gpu
from workflow.setup.environment import build_of

SNAKEMAKE = {Path(".snakemake") / name for name in ("auxiliary", "incomplete", "locks", "metadata")}
"""Folders of its own."""
QUICK_BYTES = 2**30
"""Read in a second or two."""
RESTORE = (
    "nothing was changed: restore what is damaged (`git checkout`, or for checkpoint and replay "
    "`make pull FOLDER=...`), or delete the folder of that run to have it trained again"
)


def check_checkout(dag: Dag) -> None:
    """Raise `ConfigError` if this folder does not allow to make what is to be made.

    What the doctor asks of the checkout, which would otherwise be found out after all training.
    """
    files = list(_files(dag))
    for path in files:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder where a file belongs; move it, or remove it")
    findings = [checkout.folders({path.parent for path in files} | SNAKEMAKE)]
    if files:
        findings += [checkout.cache(), checkout.git(), checkout.pointers()]
    for finding in findings:
        if finding.mark == "missing":
            raise ConfigError(f"{finding.what}: {finding.found}; {finding.remedy}")


def check_runs(dag: Dag) -> None:
    """Raise `RunError` if a finished run is not as its record says, as far as that is quick.

    Checkpoints and replays are read if those of all runs have at most `QUICK_BYTES`; `verify` reads
    larger ones, and so does everything that uses them.
    """
    runs = [run.folder for run in dag.runs.values() if run.finished]
    artifacts = [run / name for run in runs for name in run_record.ARTIFACTS]
    there = [folder for folder in artifacts if folder.is_dir()]
    size = sum(path.lstat().st_size for folder in there for path in folder.iterdir())
    named = {run: [each.name for each in there if each.parent == run] for run in runs}
    wrong = []
    for run, names in named.items():
        try:
            run_record.check(run, *(names if size <= QUICK_BYTES else ()))
        except (ConfigError, RunError, OSError) as error:
            wrong.append(str(sentence(error)))
    if wrong:
        raise RunError("\n".join([*wrong, RESTORE]))


def _files(dag: Dag) -> Iterator[Path]:
    """Everything that will be written."""
    for run in dag.pending:
        yield from (run.record, run.settings, run.log, run.scratch / "progress.json")
    for target in dag.stale:
        yield from (target.provenance, target.stamp, target.fingerprint_file, target.log)
        yield from map(Path, target.fingerprint.outputs)


def check_devices(dag: Dag) -> None:
    """Raise `ConfigError` if runs need a GPU and this machine has none that they can use."""
    needing = [run for run in dag.pending if run.config.device == "cuda"]
    if not needing:
        return
    if not (found := driver.find()):
        raise ConfigError(
            f"{len(needing)} runs of budget {dag.selection.budget} need a GPU and this machine has "
            "none: choose a smaller budget, or a cluster's profile (make ... PROFILE=slurm)"
        )
    if lack := no_gpu(build_of(version("torch")), found):
        raise ConfigError(
            f"{len(needing)} runs of budget {dag.selection.budget} need a GPU: {'; '.join(lack)}"
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
