"""The NVIDIA driver and GPUs of this machine, and which of PyTorch's builds they can run.

Asked of `nvidia-smi`, which comes with every driver, as PyTorch may not be installed yet.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
"""Files that a kernel with a driver has; the last under Windows."""
VERSION = Path("/proc/driver/nvidia/version")
QUERY = ("nvidia-smi", "--query-gpu=driver_version,compute_cap,name", "--format=csv,noheader")
SECONDS = 60
"""For an answer: without persistence mode the driver first wakes up each GPU."""


class Need(NamedTuple):
    """What a build of PyTorch asks of a machine."""

    cuda: str
    driver: int
    """Oldest branch of the driver (CUDA's release notes, minor version compatibility)."""
    capability: tuple[int, int]
    """Lowest compute capability that the wheel has code for."""


NEEDS = {"cuda": Need("13.0", 580, (7, 5)), "cuda12": Need("12.8", 525, (7, 0))}
"""By the build that `make setup TORCH=...` installs; see docs/gpu.md."""


@dataclass(frozen=True)
class Gpu:
    """A device."""

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class Driver:
    """An installed driver; what it does not tell is empty."""

    version: str = ""
    gpus: tuple[Gpu, ...] = ()
    complaint: str = ""
    """Why it did not answer."""

    def problem(self, build: str) -> tuple[str, str] | None:
        """Why a build of PyTorch cannot use this machine, and what to do; None if it can."""
        need = NEEDS[build]
        if self.complaint:
            return self.complaint, "see `nvidia-smi`; often the machine must be started anew"
        if self.version and branch(self.version) < need.driver:
            found = f"NVIDIA driver {self.version}, and CUDA {need.cuda} needs {need.driver}"
            return found, f"install driver {need.driver} or newer{self._other(build)}"
        if self.gpus and not any(gpu.capability >= need.capability for gpu in self.gpus):
            best = max(self.gpus, key=lambda gpu: gpu.capability)
            found = (
                f"{best.name} has compute capability {dotted(best.capability)}, and PyTorch for "
                f"CUDA {need.cuda} needs {dotted(need.capability)}"
            )
            return found, f"use a newer GPU{self._other(build)}"
        return None

    def _other(self, build: str) -> str:
        other = self.best_build()
        return f", or `make setup TORCH={other}`" if other not in (build, None) else ""

    def best_build(self) -> str | None:
        """The newest build that this driver and one of its GPUs can run, if any."""
        fitting = [build for build, need in NEEDS.items() if _fits(self, need)]
        return fitting[0] if fitting else None


def _fits(driver: Driver, need: Need) -> bool:
    old = bool(driver.version) and branch(driver.version) < need.driver
    small = driver.gpus and not any(gpu.capability >= need.capability for gpu in driver.gpus)
    return not old and not small


def branch(version: str) -> int:
    """Of a driver: 535 for 535.104.05."""
    return int(version.split(".")[0])


def dotted(capability: tuple[int, int]) -> str:
    """A compute capability as NVIDIA writes it."""
    return f"{capability[0]}.{capability[1]}"


def is_seen() -> bool:
    """Whether the kernel has an NVIDIA driver."""
    return any(Path(sign).exists() for sign in SIGNS)


def find() -> Driver | None:
    """This machine's driver; None if there is none."""
    if not is_seen():
        return None
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return Driver(_version_of_kernel())
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        return Driver(_version_of_kernel(), complaint=said[-1] if said else "nvidia-smi failed")
    rows = [line.split(",", 2) for line in done.stdout.splitlines() if line.count(",") >= 2]
    gpus = [
        Gpu(name.strip(), (int(found[1]), int(found[2])))
        for _, capability, name in rows
        if (found := re.fullmatch(r"(\d+)\.(\d+)", capability.strip()))
    ]
    version = rows[0][0].strip() if rows else ""
    return Driver(version if re.match(r"\d", version) else _version_of_kernel(), tuple(gpus))


def _version_of_kernel() -> str:
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.\d[\d.]*)\s", VERSION.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def problem(build: str) -> str | None:
    """Why a build of PyTorch cannot use this machine's GPUs, in a sentence with the remedy."""
    driver = find()
    found = driver.problem(build) if driver and build in NEEDS else None
    return "; ".join(found) if found else None
