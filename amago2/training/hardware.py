"""What the machine tells of itself: processor, memory of this process, and the GPU by NVML."""

import platform
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


class GpuMonitor:
    """NVML's view of one device; without a device or a driver, it reports nothing."""

    def __init__(self, wanted: bool) -> None:
        """Find the first CUDA device, if `wanted`."""
        self.handle: Any = None
        if wanted:
            import pynvml
            import torch

            self.nvml = pynvml
            try:
                pynvml.nvmlInit()
                uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
                self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            except pynvml.NVMLError:
                self.handle = None
        self._initial_joules = self._read().get("gpu_joules", 0.0)

    def sample(self) -> dict[str, float]:
        """Utilisation (share), memory (bytes), power (watts), energy since the start (joules).

        Readings that the device does not support are left out.
        """
        found = self._read()
        if "gpu_joules" in found:
            found["gpu_joules"] -= self._initial_joules
        return found

    def _read(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self.handle is None:
            return found
        nvml = self.nvml
        readings: dict[str, Callable[[Any], float]] = {
            "gpu_util": lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "gpu_memory_bytes": lambda gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
            "gpu_watts": lambda gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
            "gpu_joules": lambda gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
        }
        for name, read in readings.items():
            with suppress(nvml.NVMLError):
                found[name] = read(self.handle)
        return found

    @property
    def name(self) -> str | None:
        """Name of the device, None without one."""
        return None if self.handle is None else str(self.nvml.nvmlDeviceGetName(self.handle))


def cpu_name() -> str:
    """Name of the processor, or its architecture.

    With family and model, since a virtual machine's name may stand for several generations.
    """
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if "model name" not in facts:
        return platform.machine()
    return f"{facts['model name']}, family {facts.get('cpu family')} model {facts.get('model')}"


def peak_rss_bytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)
