"""Assigns GPUs to jobs: a device each, or one shared by several small runs, as memory allows.

Each device has eight slots. A slot is a file that its job keeps locked until it ends, however it
ends. The locks are shared by all of this user's checkouts on this machine.
"""

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from amago2.errors import ConfigError, RunError

SLOTS = 8
"""Per device; each stands for an eighth of its memory."""
GPUS = "AMAGO2_GPUS"
"""Variable that lists the devices instead of the driver: `0=24,1=24` (GB)."""
POLL_S = 0.5


@dataclass(frozen=True)
class Gpu:
    """A device, named as in CUDA_VISIBLE_DEVICES."""

    name: str
    memory: float
    """Bytes."""


@dataclass(frozen=True)
class Claim:
    """Slots on one or more devices; their locks survive `exec`, so the trainer inherits them."""

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
    return list(_devices_of_driver())


def _devices_of_driver() -> Iterator[Gpu]:
    """The driver's devices within CUDA_VISIBLE_DEVICES; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        count = pynvml.nvmlDeviceGetCount()
        names = [str(i) for i in range(count)] if visible is None else visible.split(",")
        for name in (name.strip() for name in names if name.strip() not in ("", "-1")):
            by_index = name.isdecimal()
            handle = (
                pynvml.nvmlDeviceGetHandleByIndex(int(name))
                if by_index
                else pynvml.nvmlDeviceGetHandleByUUID(name)
            )
            memory = float(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            yield Gpu(str(pynvml.nvmlDeviceGetUUID(handle)) if by_index else name, memory)
    except pynvml.NVMLError:
        return


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
            print("waiting for a free GPU", flush=True)
            waiting = True
        time.sleep(POLL_S)
    return None


def _take(devices: list[Gpu], need: float, folder: Path, count: int) -> Claim | None:
    """Take slots on the devices that have the most free ones."""
    free = {gpu: _free(folder / gpu.name.replace("/", "_")) for gpu in devices}
    fitting = [gpu for gpu in devices if len(free[gpu]) >= slots_needed(need, gpu)]
    best = sorted(fitting, key=lambda gpu: -len(free[gpu]))[:count]
    if len(best) < count:
        best = []
    taken = [file for gpu in best for file in free[gpu][: slots_needed(need, gpu)]]
    for file in (file for files in free.values() for file in files if file not in taken):
        file.close()
    for file in taken:
        os.set_inheritable(file.fileno(), True)
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
