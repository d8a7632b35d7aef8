"""A copy of the project in a temporary folder, and made-up runs and results to fill it with."""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from amago2.config.schema import TRAINING_VERSION
from tests.records import write_record
from workflow.analysis.tidy import to_csv
from workflow.config import catalog
from workflow.config.experiments import Selection
from workflow.dag import fingerprints, provenance
from workflow.dag.plan import Dag, plan
from workflow.dag.runs import Run
from workflow.dvc.add import VersioningError, reason
from workflow.setup import checkout

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("amago2", "envs", "workflow", "params", "profiles")
FILES = ("Snakefile", "dvc.yaml", ".gitattributes", ".gitignore", ".dvcignore", "pyproject.toml")
DRAWN = {
    "fig03", "fig05", "fig12", "fig16", "ext_return_scale", "compute", "table1", "table2",
    "return_scale_scores",
}  # fmt: skip
"""Figures and tables that are kept; the others show experiments that are left out here."""
BUDGET = "micro"
MICRO = """\
title: micro (for tests)
all:
  agent: {bins: 16, discounts: [0.9], head_hidden_sizes: [16], num_critics: 2}
  timestep_encoder: {kind: feed_forward, hidden_sizes: [16], output_size: 16}
  trajectory_encoder: {kind: transformer, context_length: 10, width: 16, layers: 1, heads: 2,
    feedforward_size: 16}
  learner: {batch_size: 4, warmup_updates: 2, updates_per_epoch: 2}
  collector: {actors: 2, steps_per_epoch: 130, epochs: 2}
  evaluation: {every: 1, rollouts: 1, final_rollouts: 1, actors: 4}
benchmarks:
  popgym:
    env: {kwargs: {tasks: [RepeatFirstEasy, HigherLowerEasy]}}
    ppo: {rollout_steps: 65, sequence_length: 20, width: 16, head_hidden_sizes: [16],
      epochs: 1, minibatches: 2}
"""
MADE_UP = {".json": '{"made_up": 1}\n', ".yaml": "{}\n"}
"""What DVC reads must be whole."""
EXPERIMENTS = {
    "popgym": """\
title: Multi-Task POPGym
runs:
  - {benchmark: popgym, variants: [ind_actor_ind_critic, dep_actor_dep_critic]}
budgets: {micro: {seeds: 1}}
""",
    "ext_return_scale": """\
title: Scales
runs:
  - {benchmark: return_scale, variants: [ind_actor_ind_critic, dep_actor_ind_critic], cell: scaled}
  - benchmark: return_scale
    variants: [ind_actor_ind_critic]
    cell: equal
    set: {env: {kwargs: {scales: [1, 1, 1, 1]}}}
budgets: {micro: {seeds: 2}}
""",
}


def copy_project(folder: Path) -> Path:
    """The project as a git repository in `folder`, with a budget that takes seconds."""
    folder.mkdir(parents=True)
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    for kind in ("experiments", "figures", "tables"):
        for path in (folder / "params" / kind).glob("*.yaml"):
            if path.stem not in DRAWN:
                path.unlink()
    for name, text in EXPERIMENTS.items():
        (folder / "params" / "experiments" / f"{name}.yaml").write_text(text)
    (folder / "params" / "budgets" / f"{BUDGET}.yaml").write_text(MICRO)
    stage = folder / "dvc.yaml"
    stage.write_text(
        stage.read_text().replace("reproduce\n    deps", f"reproduce --budget {BUDGET}\n    deps")
    )
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def copy_all(folder: Path) -> None:
    """Everything that git would know of the project, committed, in `folder`."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in map(Path, filter(None, names.split("\0"))):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    git(folder, "init", "-q", "-b", "main")
    commit(folder)


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Have this process plan the project in `folder`, as its own Snakemake would."""
    patch.chdir(folder)
    patch.setattr(fingerprints, "ROOT", folder)
    patch.setattr(checkout, "ROOT", folder)
    patch.setattr(catalog, "REFERENCE", folder / "workflow" / "reference")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a repository."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "gc.auto=0"]
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    """Commit everything that git does not ignore."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all", "--allow-empty")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the project, as its Makefile does."""
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment())


def snakemake_jobs(*targets: str) -> dict[str, int]:
    """Jobs that Snakemake itself would run, by rule."""
    options = ["--config", f"budget={BUDGET}"]
    done = run(Path.cwd(), "snakemake", "-n", *targets, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    if "Nothing to be done" in said:
        return {}
    table = said.split("Job stats:")[1].split("\n\n")[0].splitlines()
    rows = [line.split() for line in table if line.split()[1:2] and line.split()[1].isdigit()]
    return {rule: int(count) for rule, count in rows if rule not in ("total", "all", "figures")}


class _Messages(logging.Handler):
    """What DVC would print on standard error."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text = " - ".join(filter(None, [text, str(record.exc_info[1])]))
        self.lines.append(f"{record.levelname}: {text}")


def dvc(*arguments: str) -> str:
    """Run DVC on the project in the working directory, in this process; returns what it prints.

    A warning fails the test, but for the one that DVC gives before it collects garbage.
    """
    from dvc.cli import main

    said, handler = io.StringIO(), _Messages(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = main([*arguments])
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    if code:
        raise VersioningError(f"dvc {arguments[0]} failed: {reason(chr(10).join(handler.lines))}")
    warnings = [line for line in handler.lines if "This will remove" not in line]
    assert not warnings
    return said.getvalue().strip()


def environment() -> dict[str, str]:
    """Ours, without what would change Snakemake's or DVC's ways; one thread a process."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE")}
    return {**ours, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def wanted(**options: str) -> tuple[set[str], set[str]]:
    """Runs to train and targets to make, by name, of the project in the working directory."""
    dag = the_plan(**options)
    return {run.name for run in dag.pending}, {target.name for target in dag.stale}


def the_plan(**options: str) -> Dag:
    """The plan of the project in the working directory, with its code as it is now."""
    fingerprints._parse.cache_clear()
    return plan(Selection.parse({"budget": BUDGET} | options))


def pretend(only_stale: bool = False, **options: str) -> Dag:
    """Make up everything of a budget, or what is stale of it; returns the plan before."""
    dag = the_plan(**options)
    dag.write()
    for each in dag.pending:
        finish(each)
    for target in dag.stale if only_stale else dag.targets:
        for path in map(Path, target.fingerprint.outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MADE_UP.get(path.suffix, f"made up: {path.name}\n"))
        provenance.write_record(target.fingerprint)
    return dag


def finish(
    run: Run, ended: str = "2026-01-01", artifacts: Sequence[str] = (), content: bool = True
) -> None:
    """Make up a finished run, with those artifacts, and their content unless it is there."""
    run.folder.mkdir(parents=True, exist_ok=True)
    row = {"split": "train", "rollout": 0, "task": "a", "attempt": -1, "metric": "return"}
    rows = [row | {"step": step, "value": 0.1 * step} for step in (10, 20)]
    columns = ("split", "rollout", "task", "attempt", "step", "metric", "value")
    (run.folder / "evaluations.csv").write_text(to_csv(columns, rows))
    (run.folder / "metrics.csv").write_text("step,name,key,value\n10,loss_critic,,1.5\n")
    (run.folder / "compute.csv").write_text("time_s,step,update,name,value\n")
    (run.folder / "config.yaml").write_text(run.config.to_yaml())
    for name in artifacts:
        (run.folder / name).mkdir(exist_ok=True)
        if content:
            (run.folder / name / "data").write_text(f"{run.name} {name}")
    record = {
        "hash": run.config.hash, "training_version": TRAINING_VERSION, "git_commit": "0" * 40,
        "ended": ended,
        "wall_s": 60.0, "cpu_s": 60.0, "env_steps": 520, "updates": 4, "peak_rss_bytes": 2**29,
        "gpu": None,
    }  # fmt: skip
    write_record(run.folder, record)
