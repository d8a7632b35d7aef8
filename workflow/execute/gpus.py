"""Which GPUs a job gets: one run to a device, or several small ones by memory, never too many.

Each device has eight slots, each a file with a lock that its job holds until it ends, however it
ends. The locks are this user's on this machine, whatever the project and whoever started the job.
"""

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from amago2.errors import ConfigError, RunError

SLOTS = 8
"""Of a device, each an eighth of its memory."""
GPUS = "AMAGO2_GPUS"
"""Variable that says which devices there are, instead of asking the driver: `0=24,1=24` (GB)."""
POLL_S = 0.5


@dataclass(frozen=True)
class Gpu:
    """A device, by the name that CUDA_VISIBLE_DEVICES knows it by."""

    name: str
    memory: float
    """Bytes."""


@dataclass(frozen=True)
class Claim:
    """Slots on one device or more; their locks are inherited by what this process becomes."""

    gpus: tuple[str, ...]
    files: tuple[IO[Any], ...]


def gpus() -> list[Gpu]:
    """The devices that this process may use. Raises `ConfigError` for a list that is none."""
    if given := os.environ.get(GPUS):
        try:
            pairs = [item.split("=") for item in given.split(",")]
            return [Gpu(name.strip(), float(size) * 1e9) for name, size in pairs]
        except ValueError:
            raise ConfigError(f"{GPUS}={given}: must be like 0=24,1=24 (device=GB)") from None
    return list(_asked())


def _asked() -> Iterator[Gpu]:
    """What the driver says, within CUDA_VISIBLE_DEVICES; nothing where there is no driver."""
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
    """How many of a device's slots so many bytes take; all of them if it is too small."""
    return max(1, min(SLOTS, math.ceil(SLOTS * need / gpu.memory)))


def claim(need: float, folder: Path | None = None, count: int = 1) -> Claim | None:
    """Wait for slots that hold `need` bytes on each of `count` devices, and take them all at once.

    None without a device. Raises `RunError` if there are some, but fewer.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"amago2-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder}: belongs to somebody else; remove it, or set TMPDIR")
    told = False
    while devices := gpus():
        if len(devices) < count:
            raise RunError(
                f"the run wants {count} GPUs (learner.processes, and one for "
                f"collector.asynchronous), and there are {len(devices)} here; change "
                "those keys, or choose another machine"
            )
        with _lock(folder / "choosing"):
            if taken := _take(devices, need, folder, count):
                return taken
        if not told:
            print("waiting for a free GPU", flush=True)
            told = True
        time.sleep(POLL_S)
    return None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process chooses at a time, or two that need much could take half of a device each."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _take(devices: list[Gpu], need: float, folder: Path, count: int) -> Claim | None:
    """Slots on the devices that have the most of them free."""
    free = {gpu: _free(folder / gpu.name.replace("/", "_")) for gpu in devices}
    fitting = [gpu for gpu in devices if len(free[gpu]) >= slots_needed(need, gpu)]
    best = sorted(fitting, key=lambda gpu: -len(free[gpu]))[:count]
    if len(best) < count:
        best = []
    kept = [file for gpu in best for file in free[gpu][: slots_needed(need, gpu)]]
    for file in (file for files in free.values() for file in files if file not in kept):
        file.close()
    for file in kept:
        os.set_inheritable(file.fileno(), True)
    return Claim(tuple(gpu.name for gpu in best), tuple(kept)) if best else None


def _free(device: Path) -> list[IO[Any]]:
    """The free slots of a device, locked."""
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
