"""Assigns GPUs to jobs: a device each, or one shared by several small runs, as memory allows.

Each device has sixteen slots. A slot is a file that its job keeps locked until it ends, however it
ends. The locks are shared by all of this user's checkouts on this machine.
"""

import fcntl
import math
import os
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from amago2.errors import ConfigError, RunError
from workflow.execute.visible_gpus import Gpu, visible_gpus
from workflow.setup.driver import NEEDS
from workflow.setup.environment import build_of

SLOTS = 16
"""Per device; each stands for a sixteenth of its memory."""
GPUS = "AMAGO2_GPUS"
"""Variable that lists the devices instead of the driver: `0=24,1=24` (GB)."""
POLL_S = 0.5


@dataclass(frozen=True)
class Claim:
    """Slots on one or more devices, for as long as these files are open."""

    gpus: tuple[str, ...]
    files: tuple[IO[Any], ...]


def gpus() -> list[Gpu]:
    """Devices that this process may use. Raises `ConfigError` for a malformed list."""
    if given := os.environ.get(GPUS):
        try:
            pairs = [item.split("=") for item in given.split(",")]
            return [Gpu(name.strip(), float(size) * 1e9) for name, size in pairs]
        except ValueError:
            raise ConfigError(f"{GPUS}={given}: must be like 0=24,1=24 (device=GB)") from None
    need = NEEDS.get(build_of(version("torch")))
    return visible_gpus(need.capability if need else (0, 0))


def slots_needed(need: float, gpu: Gpu) -> int:
    """How many of a device's slots `need` bytes take: all of them if it is too small."""
    return max(1, min(SLOTS, math.ceil(SLOTS * need / gpu.memory)))


def claim(need: float, folder: Path | None = None, count: int = 1) -> Claim | None:
    """Wait for slots of `need` bytes on each of `count` devices, and take them all at once.

    None if there is no device. Raises `RunError` if there are some, but fewer than `count`.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"amago2-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder}: belongs to another user; remove it, or set TMPDIR")
    waiting = False
    while devices := gpus():
        if len(devices) < count:
            raise RunError(
                f"the run wants {count} GPUs (learner.processes, and one for "
                f"collector.asynchronous), and there are {len(devices)} here; change "
                "those keys, or choose another machine"
            )
        # One process chooses at a time: two large runs could take half of a device each, and wait.
        with FileLock(folder / "choosing"):
            if taken := _take(devices, need, folder, count):
                return taken
        if not waiting:
            print(why_waiting(devices, need), flush=True)
            waiting = True
        time.sleep(POLL_S)
    return None


def why_waiting(devices: list[Gpu], need: float) -> str:
    """What to say while no device is free; memory in use may be of other programs."""
    short = [gpu for gpu in devices if gpu.memory >= need > gpu.memory - gpu.used]
    used = ", ".join(f"{gpu.used / 1e9:.0f} of {gpu.memory / 1e9:.0f} GB" for gpu in short)
    more = f": {need / 1e9:.0f} GB are needed, and in use are {used}" if used else ""
    return f"waiting for a free GPU{more}"


def foreign_slots(gpu: Gpu, claimed: int, need: float) -> int:
    """Slots that programs other than our runs occupy, which have `claimed` ones.

    What our runs have claimed and not allocated yet hides as much of it. Less than a slot is the
    driver's own, or a desktop's. A run that is too large for the device is tried even so.
    """
    if need > gpu.memory:
        return 0
    return max(0, math.floor(SLOTS * gpu.used / gpu.memory) - claimed)


def _take(devices: list[Gpu], need: float, folder: Path, count: int) -> Claim | None:
    """Take slots on the devices that have the most free ones."""
    free = {gpu: _free(folder / gpu.name.replace("/", "_")) for gpu in devices}
    room = {
        gpu: len(files) - foreign_slots(gpu, SLOTS - len(files), need)
        for gpu, files in free.items()
    }
    fitting = [gpu for gpu in devices if room[gpu] >= slots_needed(need, gpu)]
    best = sorted(fitting, key=lambda gpu: -room[gpu])[:count]
    if len(best) < count:
        best = []
    taken = [file for gpu in best for file in free[gpu][: slots_needed(need, gpu)]]
    for file in (file for files in free.values() for file in files if file not in taken):
        file.close()
    return Claim(tuple(gpu.name for gpu in best), tuple(taken)) if best else None


def _free(device: Path) -> list[IO[Any]]:
    """The free slots of a device, now locked.

    With flock itself: filelock cannot hand a lock on to the program that this process becomes.
    """
    device.mkdir(exist_ok=True)
    locked: list[IO[Any]] = []
    for number in range(SLOTS):
        file = (device / f"slot{number}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked.append(file)
        except BlockingIOError:
            file.close()
    return locked
