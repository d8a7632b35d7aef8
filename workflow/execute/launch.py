"""Train one run of the DAG: record its origin, take its GPUs, then become its trainer.

With the record of an image, the trainer runs in a container of that image.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from amago2.config.schema import AmagoConfig, RunConfig
from amago2.errors import RunError
from amago2.files import read_json, write_atomically
from workflow.baselines.config import load_run, trainer
from workflow.container import job as container
from workflow.estimate import memory, resources
from workflow.estimate.training_time import estimated_seconds
from workflow.execute import gpus as devices
from workflow.execute import slurm
from workflow.execute.local_disk import local_disk
from workflow.setup import driver
from workflow.setup.checkout import run_git
from workflow.setup.environment import build_of
from workflow.setup.locks import lock_files

ROOT = Path(__file__).resolve().parents[2]
CODE = ("amago2", "envs", "workflow", "params", "containers", "Snakefile", "pyproject.toml")
"""What can change a run's results: only edits of these mark it as made from a dirty tree."""


def provenance(settings: Path, image: Mapping[str, Any]) -> dict[str, Any]:
    """Identify code, environment and parameters, and the time planned for the run.

    `image` is the record of the container image, empty on the host. None stands for unknown.
    """
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(status)
        if (status := _git("status", "--porcelain", *CODE)) is not None
        else None,
        "lock_sha256": image.get("lock_sha256")
        or os.environ.get("AMAGO2_LOCK_SHA256")
        or locks_digest(),
        "container_digest": image.get("content_sha256")
        or os.environ.get("AMAGO2_CONTAINER_DIGEST")
        or None,
        "parameters_sha256": hashlib.sha256(settings.read_bytes()).hexdigest(),
        "planned_s": round(estimated_seconds(load_run(settings)), 1),
    }


def locks_digest() -> str | None:
    """SHA-256 of the locks that this Python was installed from; None outside `.venv`."""
    if Path(sys.prefix) != ROOT / ".venv":
        return None
    locks = lock_files(build_of(importlib.metadata.version("torch")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()


def _git(*arguments: str) -> str | None:
    known, answer = run_git(*arguments)
    return answer if known else None


def start(
    settings: Path, out: Path, scratch: Path, image_record: Path | None, cores: int = 1
) -> None:
    """Become the trainer, which holds the locks of the run and its GPUs until it ends.

    In a Slurm job, watch over it instead. Raises `ConfigError` or `RunError`.
    """
    config = load_run(settings)
    lock = _lock(settings.with_suffix(".lock"))
    image = read_json(image_record) if image_record else {}
    if image_record and not image:
        raise RunError(f"{image_record}: no such file; `make reproduce` builds the image")
    notes = settings.with_suffix(".provenance.json")
    write_atomically(notes, json.dumps(provenance(settings, image), indent=1) + "\n")
    arguments = ["-m", *trainer(config), str(settings), "--out", str(out)]
    arguments += ["--scratch", str(scratch), "--provenance", str(notes)]
    arguments += environment_processes(config, cores)
    folders = [path for path in (Path("results"), out.parent, scratch.parent) if path.exists()]
    if isinstance(config, AmagoConfig) and (disk := local_disk()):
        arguments += ["--local-disk", str(disk)]
        folders.append(disk)
    if image:
        container.end_orphans(image, Path(lock.name))
    claim = _claim_gpus(config)
    command = [sys.executable, *arguments]
    if image:
        named = (container_name(config.hash), Path(lock.name))
        job = container.Job(*named, tuple(arguments), claim.gpus, tuple(folders))
        command = container.run_command(image, job)
    sys.stdout.flush()
    locks = [file.fileno() for file in (lock, *claim.files)]
    if number := slurm.job():
        sys.exit(slurm.Trainer(number, command, locks).run())
    for descriptor in locks:
        os.set_inheritable(descriptor, True)
    os.execvp(command[0], command)


def environment_processes(config: RunConfig, cores: int) -> list[str]:
    """Step the environments of a run on a GPU on the cores that the learner leaves.

    This changes no result, and is no part of a run's hash.
    """
    learning = resources.ranks(config) + resources.is_asynchronous(config)
    processes = min(cores - learning, config.collector.actors)
    unset = isinstance(config, AmagoConfig) and config.env.processes is None
    if config.device == "cpu" or not unset or processes < 1:
        return []
    return ["--set", f"env.processes={processes}"]


def _claim_gpus(config: RunConfig) -> devices.Claim:
    """Take the devices that a run needs, and show it no others; none for a run without."""
    nothing = devices.Claim((), ())
    if config.device != "cuda":
        return nothing
    if lack := driver.problem(build_of(importlib.metadata.version("torch"))):
        raise RunError(f"no GPU of this machine ({os.uname().nodename}) can be used: {lack}")
    count = resources.gpus(config)
    claim = devices.claim(memory.gpu_bytes(config) / count, count=count)
    if claim:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claim.gpus)
    return claim or nothing


def container_name(run: str) -> str:
    """The same for the same run of the same checkout, so that an orphan of it is found."""
    return f"amago2-{hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8]}-{run}"


def _lock(path: Path) -> IO[Any]:
    """Lock the run: two jobs of it would end each other's container.

    With flock itself: filelock cannot hand a lock on to the program that this process becomes.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{path}: another process is training this run") from None
    return file
