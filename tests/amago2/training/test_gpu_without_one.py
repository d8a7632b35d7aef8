"""What GPUs are asked for and about, with a mock of the driver: no machine here has one."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from amago2.errors import ConfigError
from amago2.training.hardware import GpuMonitor
from amago2.training.torch_settings import product_precision, torch_settings
from tests.amago2.toy import small


class NVMLError(Exception):
    pass


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A mock of NVML whose card does not tell its power, and what it tells of its energy."""
    told = {"millijoules": 5e6}

    def power(_: Any) -> None:
        raise NVMLError

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=50),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=3),
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: told["millijoules"],
        nvmlDeviceGetName=lambda _: "card",
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="0-1"))
    return told


def test_a_card_tells_what_it_can_and_the_rest_is_left_out(driver: dict[str, float]) -> None:
    gpu = GpuMonitor(wanted=True)
    driver["millijoules"] += 2000
    assert gpu.sample() == {"gpu_util": 0.5, "gpu_memory_bytes": 3.0, "gpu_joules": 2.0}
    assert gpu.name == "card"
    assert GpuMonitor(wanted=False).sample() == {}


@pytest.mark.parametrize(
    ("device", "capability", "configured", "expected"),
    [
        ("cpu", (8, 0), None, "float32"),
        ("cuda", (7, 5), None, "float32"),
        ("cuda", (8, 0), None, "tfloat32"),
        ("cuda", (9, 0), "float32", "float32"),
        ("cuda", (9, 0), "bfloat16", "bfloat16"),
    ],
)
def test_tensor_cores_are_used_unless_float32_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    capability: tuple[int, int],
    configured: str | None,
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    config = small(device=device, learner={"precision": configured})
    assert product_precision(config) == expected
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    with torch_settings(config):
        assert products.allow_tf32 is convolutions.allow_tf32 is (expected == "tfloat32")


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = small(device="cuda", learner={"processes": 2})
    said = r"learner\.processes needs 2 GPUs here, and PyTorch finds 1"
    with pytest.raises(ConfigError, match=said), torch_settings(config):
        pass
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # torchrun started the other on another machine
    with torch_settings(config):
        pass


def test_what_computing_changes_is_as_before_afterwards() -> None:
    def now() -> tuple[Any, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        )

    before = now()
    with torch_settings(small(threads=3)):
        assert now() == (3, True, False, False, False)
    with torch_settings(small(device="cpu")), pytest.raises(ValueError, match="inside"):
        raise ValueError("inside")
    assert now() == before
