"""Commands that run a job in a container, and the end of containers that nobody waits for."""

import fcntl
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/opt/venv/bin/python"
"""In the image."""
RUN_LABEL = "amago2.run"
"""Of a container: the file that is locked while somebody waits for its end."""
SHARED_MEMORY = "8g"
"""Most of /dev/shm, by which NCCL's ranks exchange gradients; engines give 64 MB."""
STOP_TIMEOUT_S = 20
"""For an orphaned container to end by itself."""


@dataclass(frozen=True)
class Job:
    """A Python process to run in a container."""

    name: str
    """Of the container; the same for the same run, so that an orphan of it is found."""
    lock: Path
    """A file that is locked, by whoever starts the job, until the job ends."""
    arguments: tuple[str, ...]
    """Python's."""
    gpus: tuple[str, ...] = ()
    """Identifiers of the devices that it may use."""
    folders: tuple[Path, ...] = ()
    """Existing folders outside the project that it reads or writes."""
    variables: tuple[str, ...] = ("AMAGO2_REPRODUCE", "OMP_NUM_THREADS")
    """Variables that it inherits if they are set."""


def run_command(built: Mapping[str, Any], job: Job) -> list[str]:
    """Command that runs a job in the image that a record describes."""
    if built["runtime"] == "apptainer":
        return _apptainer(built, job)
    return _engine(built, job)


def _engine(built: Mapping[str, Any], job: Job) -> list[str]:
    """Docker or Podman: no network, the caller's user, and a first process that reaps others."""
    engine = str(built["runtime"])
    command = [engine, "run", "--rm", "--init", "--name", job.name, "--network", "none"]
    command += ["--user", f"{os.getuid()}:{os.getgid()}", "--workdir", str(ROOT)]
    command += ["--shm-size", SHARED_MEMORY, "--label", f"{RUN_LABEL}={job.lock.absolute()}"]
    if engine == "podman":
        command += ["--security-opt", "label=disable"]
        # Without root, the caller is the same user inside; root's Podman refuses the option.
        command += ["--userns", "keep-id"] if os.getuid() else []
    for folder in _mounted(job):
        command += ["--volume", f"{folder}:{folder}"]
    for name in job.variables:
        command += ["--env", name] if name in os.environ else []
    if not job.gpus:
        command += ["--env", "NVIDIA_VISIBLE_DEVICES=void"]
    elif engine == "docker":  # which reads a line of CSV
        command += ["--gpus", f'"device={",".join(job.gpus)}"']
    else:
        command += [word for gpu in job.gpus for word in ("--device", f"nvidia.com/gpu={gpu}")]
    return [*command, str(built["image"]), PYTHON, *job.arguments]


def _apptainer(built: Mapping[str, Any], job: Job) -> list[str]:
    """Apptainer needs no daemon: the job is a child like any other, of the caller's user."""
    command = ["apptainer", "exec", "--cleanenv", "--contain", "--no-home"]
    command += ["--pwd", str(ROOT)]
    for folder in _mounted(job):
        command += ["--bind", f"{folder}:{folder}"]
    given = {name: os.environ[name] for name in job.variables if name in os.environ}
    if job.gpus:
        command += ["--nv"]
        given["CUDA_VISIBLE_DEVICES"] = ",".join(job.gpus)
    for name, value in given.items():
        command += ["--env", f"{name}={value}"]
    return [*command, str(ROOT / built["sif"]), PYTHON, *job.arguments]


def _mounted(job: Job) -> list[Path]:
    """The project, and the job's folders that do not lie in it."""
    outside = {folder.resolve() for folder in job.folders}
    return [ROOT, *sorted(folder for folder in outside if not folder.is_relative_to(ROOT))]


def end_orphans(built: Mapping[str, Any], own: Path) -> None:
    """End containers whose run nobody waits for, and that of the run whose lock, `own`, we hold.

    kill -9 ends an engine's client, which frees its locks, but not the container, which keeps its
    GPU's memory. Apptainer's jobs are plain children, and leave nothing.
    """
    if built["runtime"] == "apptainer":
        return
    engine = str(built["runtime"])
    for container, lock in _running(engine):
        ours = lock == own.absolute()
        held = None if ours else _hold(lock)
        if ours or held:
            print(f"ending a container that an interrupted job left behind ({container})")
            stop = [engine, "stop", "--time", str(STOP_TIMEOUT_S), container]
            subprocess.run(stop, capture_output=True)
            subprocess.run([engine, "rm", "--force", container], capture_output=True)
        if held:
            held.close()


def _running(engine: str) -> list[tuple[str, Path]]:
    """Containers of runs, of this and other checkouts, and the lock of each."""
    listing = [engine, "ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}"]
    found = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    template = f'{{{{index .Config.Labels "{RUN_LABEL}"}}}}'
    locks = [
        subprocess.run(
            [engine, "inspect", "--format", template, each], capture_output=True, text=True
        ).stdout.strip()
        for each in found
    ]
    return [(each, Path(lock)) for each, lock in zip(found, locks, strict=True) if lock]


def _hold(lock: Path) -> IO[str] | None:
    """Lock the file, so that nobody starts its run meanwhile; None if somebody waits for it."""
    try:
        file = lock.open()
    except OSError:  # another user's, or its checkout is gone
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
