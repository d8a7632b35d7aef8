"""Commands that run a job in a container, and that end containers without an owner."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/opt/venv/bin/python"
"""In the image."""
GPU_LABEL = "amago2.gpu"
"""Prefix of the labels that name a container's GPUs."""
STOP_TIMEOUT_S = 20
"""For an orphaned container to end by itself."""


@dataclass(frozen=True)
class Job:
    """A Python process to run in a container."""

    name: str
    """Of the container; the same for the same run, so that an orphan of it is found."""
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
    if engine == "podman":
        command += ["--security-opt", "label=disable"]
        # Without root, the caller is the same user inside; root's Podman refuses the option.
        command += ["--userns", "keep-id"] if os.getuid() else []
    for folder in _mounted(job):
        command += ["--volume", f"{folder}:{folder}"]
    for name in job.variables:
        command += ["--env", name] if name in os.environ else []
    for gpu in job.gpus:
        command += ["--label", f"{GPU_LABEL}.{gpu}"]
        command += ["--device", f"nvidia.com/gpu={gpu}"] if engine == "podman" else []
    if not job.gpus:
        command += ["--env", "NVIDIA_VISIBLE_DEVICES=void"]
    elif engine == "docker":  # which reads a line of CSV
        command += ["--gpus", f'"device={",".join(job.gpus)}"']
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


def orphan_queries(built: Mapping[str, Any], job: Job) -> list[list[str]]:
    """Commands that list containers which must have ended before a job starts.

    These are containers of its own run, and of the GPUs that it has just locked: kill -9 ends an
    engine's client but not the container. Apptainer's jobs are plain children and need none.
    """
    if built["runtime"] == "apptainer":
        return []
    filters = [f"name=^{job.name}$", *(f"label={GPU_LABEL}.{gpu}" for gpu in job.gpus)]
    return [[str(built["runtime"]), "ps", "--all", "--quiet", "--filter", each] for each in filters]


def end_orphans(built: Mapping[str, Any], job: Job) -> None:
    """End containers that outlived the process that started them."""
    for command in orphan_queries(built, job):
        done = subprocess.run(command, capture_output=True, text=True)
        for found in done.stdout.split():
            print(f"ending a container that an interrupted job left behind ({found})", flush=True)
            stop = [command[0], "stop", "--time", str(STOP_TIMEOUT_S), found]
            subprocess.run(stop, capture_output=True)
            subprocess.run([command[0], "rm", "--force", found], capture_output=True)
