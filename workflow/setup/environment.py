"""Where the environment lies, which PyTorch it gets, and what set-up says.

All of set-up needs the standard library alone, as it runs before anything is installed. It can be
parsed by older Pythons too, so that there it can say that they are too old.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "containers"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
"""Written last: a `.venv` without it was interrupted, and is made anew."""
MARKER = VENV / "made-by-setup"
"""Written first: a `.venv` without it is somebody else's, and is left alone."""

TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DRIVER_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")


def say(text: str) -> None:
    """Print one line of progress at once, so that it precedes the output of what it announces."""
    print(f"set-up: {text}", flush=True)


def torch_for_this_machine(signs: Sequence[str] = DRIVER_SIGNS) -> str:
    """`cuda` where the kernel has an NVIDIA driver, else `cpu`."""
    return "cuda" if any(Path(sign).exists() for sign in signs) else "cpu"
