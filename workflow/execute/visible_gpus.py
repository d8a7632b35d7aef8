"""The GPUs that this process may use, as NVML shows them: whole devices and MIG instances.

CUDA_VISIBLE_DEVICES is read as CUDA reads it (CUDA C++ Programming Guide, "CUDA Environment
Variables"): indices, UUIDs or unique beginnings of them, MIG instances; what follows a name that
fits nothing is invisible. Indices are those of the PCI bus, as `nvidia-smi` shows them: set
CUDA_DEVICE_ORDER=PCI_BUS_ID where devices differ.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """A device or a MIG instance, by its name in CUDA_VISIBLE_DEVICES."""

    name: str
    memory: float
    """Bytes."""
    used: float = 0.0
    """Bytes in use at this moment, by whomever."""


def visible_gpus(capability: tuple[int, int]) -> list[Gpu]:
    """Those of at least this compute capability; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        devices = list(_devices(pynvml))
    except pynvml.NVMLError:
        return []
    chosen = _named(os.environ.get(VARIABLE), devices)
    return [gpu for device in chosen if device.capability >= capability for gpu in device.gpus]


@dataclass(frozen=True)
class _Device:
    """A device that NVML has; with MIG, what is used are its instances."""

    uuid: str
    capability: tuple[int, int]
    gpus: tuple[Gpu, ...]


def _devices(nvml: Any) -> Iterator[_Device]:
    """In the order of their indices; one that fell off the bus, or is not ours, has no memory."""
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
            parts = _instances(nvml, handle) or (_gpu(nvml, handle),)
            yield _Device(nvml.nvmlDeviceGetUUID(handle), capability, parts)
        except nvml.NVMLError:
            yield _Device("", (0, 0), ())


def _instances(nvml: Any, handle: Any) -> tuple[Gpu, ...]:
    """The MIG instances of a device; none if it is used whole."""
    found = []
    with suppress(nvml.NVMLError):  # most devices have no such mode
        if nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE:
            for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                with suppress(nvml.NVMLError):  # an empty place
                    found.append(
                        _gpu(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place))
                    )
    return tuple(found)


def _gpu(nvml: Any, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(str(nvml.nvmlDeviceGetUUID(handle)), float(memory.total), float(memory.used))


def _named(variable: str | None, devices: list[_Device]) -> list[_Device]:
    """The devices that the variable's value names, in its order, each once."""
    if variable is None:
        return devices
    found: list[_Device] = []
    for name in variable.split(","):
        device = _find(name.strip(), devices)
        if device is None:
            break
        if device not in found:
            found.append(device)
    return found


def _find(name: str, devices: list[_Device]) -> _Device | None:
    if name.isdecimal():
        return devices[int(name)] if int(name) < len(devices) else None
    if name.startswith("MIG-"):
        parts = [
            _Device(gpu.name, device.capability, (gpu,))
            for device in devices
            for gpu in device.gpus
        ]
    else:
        parts = devices if name.startswith("GPU-") else []
    fitting = [part for part in parts if part.uuid.startswith(name)]
    exact = [part for part in fitting if part.uuid == name]
    return (exact or fitting)[0] if exact or len(fitting) == 1 else None
