"""Where the environment lies, which PyTorch it gets, and what set-up says.

All of set-up needs the standard library alone, as it runs before anything is installed. It can be
parsed by older Pythons too, so that there it can say that they are too old.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from workflow.setup import driver

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "containers"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
"""Written last: a `.venv` without it was interrupted, and is made anew."""
MARKER = VENV / "made-by-setup"
"""Written first: a `.venv` without it is somebody else's, and is left alone."""

PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Those that the locks are for, best first: the first has wheels of all simulators."""

VENV_PARTS = f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
"""Brings what Debian and Ubuntu split off from Python, without which it makes no environments."""

TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
BUILDS = {"cpu": f"{TORCH}+cpu", "cuda": TORCH, "cuda12": "2.10.0"}
"""PyTorch by build. PyPI's last one for CUDA 12, and so for older drivers, is an older PyTorch."""


def say(text: str) -> None:
    """Print one line of progress at once, so that it precedes the output of what it announces."""
    print(f"set-up: {text}", flush=True)


def can_make_venv() -> bool:
    """Whether this Python can make environments with pip in them."""
    return importlib.util.find_spec("ensurepip") is not None


def torch_for_this_machine() -> str:
    """The newest build for the NVIDIA driver and GPUs that are here; without any, `cpu`."""
    found = driver.find()
    return (found.best_build() or "cuda") if found else "cpu"


def build_of(version: str) -> str:
    """Which build a version of PyTorch is."""
    if version.endswith("+cpu"):
        return "cpu"
    return "cuda12" if version.partition("+")[0] == BUILDS["cuda12"] else "cuda"
