"""The pipeline: damaged results are noticed, and Snakemake may be killed at any moment."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from amago2.errors import ConfigError, RunError
from tests.chaos import children, toy_runs
from tests.chaos.damage import strike
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, sentence
from tests.workflow import project

RESULTS = Path("results") / project.BUDGET
COMMAND = [sys.executable, "-m", "workflow", "reproduce", "--budget", project.BUDGET]
FAKE_TRAINER = project.ROOT / "tests" / "workflow" / "execute" / "fake_cli.py"
TIMES = ("durations.csv", "record.json", "manifest.json", "ledger", "compute", "index.html",
         "provenance/", "versioned.json")  # fmt: skip
"""Parts of the names of files with times, or with digests of such, as of records."""
LIMIT_S = 300.0


def _made_up(folder: Path) -> None:
    """A project in which everything of a budget is made up."""
    project.copy_project(folder / "project")
    ended = children.run([], folder / "project", module=_pretend)
    if ended.code:
        raise Wrong(Failure.LOSS, ended.errors)


def _enter() -> None:
    from workflow.config import catalog
    from workflow.dag import fingerprints

    fingerprints.ROOT = Path.cwd()
    catalog.REFERENCE = Path("workflow/reference").absolute()


def _pretend() -> int:
    _enter()
    project.pretend()
    return _plan()


def _plan() -> int:
    """Print what would be made, as `reproduce` decides it."""
    from workflow.execute.checks import check_runs

    _enter()
    try:
        dag = project.the_plan()
        check_runs(dag)
    except (ConfigError, RunError) as error:
        print(f"amago2: {error}", file=sys.stderr)
        return 1
    print(*(run.name for run in dag.pending), *(target.name for target in dag.stale))
    return 0


def _damage(trial: Trial) -> Outcome:
    """A file of the results is damaged: its target is made anew, or a sentence names it."""
    work, undisturbed = trial.folder / "work", trial.prepared / "project"
    shutil.copytree(undisturbed, work, symlinks=True, copy_function=os.link)
    before = _digests(work / RESULTS)
    what = strike(trial, work / RESULTS)
    damaged = _digests(work / RESULTS) != before
    try:
        ended = children.run([], work, module=_plan)
        check_manners(ended)
        if ended.code:
            sentence(ended)
            return Outcome.SENTENCE
        if damaged and not ended.said.strip():
            raise Wrong(Failure.SILENT, "everything is said to be up to date")
    except Wrong as error:
        raise Wrong(error.failure, f"{what}: {error.what}") from None
    return Outcome.RESULT


def _digests(results: Path) -> dict[str, str]:
    """SHA-256 of all files that are kept, by name."""
    found = {}
    for path in toy_runs.plain_files(results):
        inner = path.relative_to(results)
        if not any(part.startswith(".") for part in inner.parts):
            found[inner.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _two_runs(folder: Path) -> None:
    """A project of two runs with a stand-in for the trainer; and what it makes, undisturbed."""
    made = project.copy_project(folder / "pristine")
    shutil.copy(FAKE_TRAINER, made / "amago2" / "cli.py")
    for kind in ("figures", "tables"):
        shutil.rmtree(made / "params" / kind)
    (made / "params" / "experiments" / "ext_return_scale.yaml").unlink()
    project.commit(made)
    project.git(made, "clone", "-q", str(made), str(folder / "whole"))
    _reproduce(folder / "whole")


def _start(folder: Path) -> subprocess.Popen[bytes]:
    log = folder.with_suffix(".log").open("wb")
    environment = {**project.environment(), "FAKE_SECONDS": "1", "PYTHONPATH": ""}
    return subprocess.Popen(
        COMMAND, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def _reproduce(folder: Path) -> None:
    process = _start(folder)
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        _end(process, everything=True)
        raise Wrong(Failure.HANG, f"still running after {LIMIT_S:.0f} s") from None
    said = folder.with_suffix(".log").read_text(errors="replace")
    if "Traceback" in said:
        raise Wrong(Failure.TRACEBACK, said[-800:])
    if code:
        raise Wrong(Failure.LOSS, f"exit code {code}: {said[-800:]}")


def _kill(trial: Trial) -> Outcome:
    """Snakemake, what started it, its jobs or all are killed, several times; then it is made."""
    work, chance = trial.folder / "work", trial.chance
    project.git(trial.prepared, "clone", "-q", str(trial.prepared / "pristine"), str(work))
    for _ in range(3):
        process = _start(work)
        time.sleep(chance.uniform(1, 9))
        if process.poll() is None:
            _kill_some(process, chance)
    _reproduce(work)
    mine, theirs = _digests(work / RESULTS), _digests(trial.prepared / "whole" / RESULTS)
    # Durations are recorded of reproductions that trained every run, hence not of this one.
    if lost := sorted(theirs.keys() - mine.keys() - {"durations.csv"}):
        raise Wrong(Failure.LOSS, f"{lost[0]} is not there in the end")
    differ = [name for name in mine if mine[name] != theirs.get(name)]
    if other := [name for name in differ if not any(part in name for part in TIMES)]:
        raise Wrong(Failure.SILENT, f"{other[0]} has other bytes in the end")
    return Outcome.RESULT


def _kill_some(process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """One of the processes, or all of them; what is left may end by itself, or is orphaned."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    everything = chance.random() < 0.4
    for each in below if everything else below and [chance.choice(below)]:
        _sigkill(each.pid)
    if everything or chance.random() < 0.5:
        _end(process, everything=False)
    else:
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            _end(process, everything=True)
            raise Wrong(Failure.HANG, "it hangs after one of its processes was killed") from None


def _end(process: subprocess.Popen[bytes], everything: bool) -> None:
    if everything:
        for each in psutil.Process(process.pid).children(recursive=True):
            _sigkill(each.pid)
    process.kill()
    process.wait()


def _sigkill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


KINDS = (
    Kind(
        "kill-snakemake",
        "Snakemake, its parent or its jobs killed three times at random moments",
        count=8,
        short=0,
        trial=_kill,
        prepare=(_two_runs,),
    ),
    Kind(
        "damage-results",
        "Damaged file of a budget's results, then planned",
        count=500,
        short=2,
        trial=_damage,
        prepare=(_made_up,),
    ),
)
