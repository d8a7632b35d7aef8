"""GPUs as a made-up NVML shows them: there is none here. Its errors are those of the real one."""

from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from workflow.execute import gpus as claims
from workflow.execute.visible_gpus import Gpu, visible_gpus

GB = 1e9


@dataclass
class Board:
    """A GPU, or a MIG instance of one."""

    uuid: str
    memory: float = 24 * GB
    used: float = 0.0
    capability: tuple[int, int] = (8, 6)
    instances: "list[Board | None]" = field(default_factory=list)
    lost: bool = False


class FakeNvml:
    """Answers as NVML does, for these boards."""

    NVMLError = pynvml.NVMLError
    NVML_DEVICE_MIG_ENABLE = pynvml.NVML_DEVICE_MIG_ENABLE

    def __init__(self, boards: list[Board] | None) -> None:
        self.boards = boards

    def nvmlInit(self) -> None:
        if self.boards is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards or [])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Board:
        board = (self.boards or [])[index]
        if board.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return board

    def nvmlDeviceGetCudaComputeCapability(self, board: Board) -> list[int]:
        return list(board.capability)

    def nvmlDeviceGetMigMode(self, board: Board) -> list[int]:
        if not board.instances:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [pynvml.NVML_DEVICE_MIG_ENABLE] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, board: Board) -> int:
        return len(board.instances)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, board: Board, place: int) -> Board:
        if (found := board.instances[place]) is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found

    def nvmlDeviceGetMemoryInfo(self, board: Board) -> Any:
        return type("Memory", (), {"total": board.memory, "used": board.used})

    def nvmlDeviceGetUUID(self, board: Board) -> str:
        return board.uuid


WHOLE = [Board("GPU-8932f937-d72c"), Board("GPU-8a1b0000-1111"), Board("GPU-c0ffee00-2222")]
MIG = [
    Board("GPU-aa", instances=[Board("MIG-1d4a", 10 * GB), None, Board("MIG-1d4b", 20 * GB)]),
    Board("GPU-bb", 80 * GB, capability=(9, 0)),
]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(boards: list[Board] | None, visible: str | None = None) -> list[str]:
        monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml(boards))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return [gpu.name for gpu in visible_gpus((7, 5))]

    return of


FIRST, SECOND, THIRD = (board.uuid for board in WHOLE)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("", []),
        ("1", [SECOND]),
        ("2,0", [THIRD, FIRST]),
        (" 2 , 0 ", [THIRD, FIRST]),
        ("0,-1,1", [FIRST]),  # nothing after a name that fits nothing
        ("-1", []),
        ("0,7,1", [FIRST]),
        ("0,0", [FIRST]),
        ("NoDevFiles", []),  # what Slurm and others set for a job without one
        ("none", []),
        ("void", []),
        (SECOND, [SECOND]),
        ("GPU-c0", [THIRD]),
        ("GPU-8932,GPU-c", [FIRST, THIRD]),
        ("GPU-8", []),  # two begin so
        ("8932f937", []),  # without GPU-
        ("0,GPU-c0ffee00", [FIRST, THIRD]),
    ],
)
def test_every_documented_form_of_the_variable(
    machine: Any, visible: str | None, names: list[str]
) -> None:
    assert machine(WHOLE, visible) == names


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["MIG-1d4a", "MIG-1d4b", "GPU-bb"]),
        ("0", ["MIG-1d4a", "MIG-1d4b"]),
        ("1", ["GPU-bb"]),
        ("MIG-1d4b", ["MIG-1d4b"]),
        ("MIG-1d4b,MIG-1d4a", ["MIG-1d4b", "MIG-1d4a"]),
        ("MIG-1d4", []),
    ],
)
def test_instances_of_a_divided_device(machine: Any, visible: str | None, names: list[str]) -> None:
    assert machine(MIG, visible) == names


def test_an_instance_has_its_own_memory(machine: Any) -> None:
    machine(MIG)
    assert visible_gpus((0, 0))[0] == Gpu("MIG-1d4a", 10 * GB)


def test_devices_that_are_lost_or_too_old_are_left_out(machine: Any) -> None:
    boards = [Board("GPU-old", capability=(6, 1)), Board("GPU-lost", lost=True), WHOLE[0]]
    assert machine(boards) == [FIRST]
    assert machine(boards, "2") == [FIRST]  # indices stay
    assert machine(boards, "1") == []


def test_without_a_driver_there_are_none(machine: Any) -> None:
    assert machine(None) == []


def test_memory_that_others_use_is_left_to_them() -> None:
    half = Gpu("0", 24 * GB, used=12 * GB)
    assert claims.foreign_slots(half, 0, need=6 * GB) == 8
    assert claims.foreign_slots(half, 8, need=6 * GB) == 0  # it is what our runs have claimed
    assert claims.foreign_slots(Gpu("0", 24 * GB, used=1 * GB), 0, need=6 * GB) == 0
    assert claims.foreign_slots(half, 0, need=30 * GB) == 0  # tried wherever it is


def test_a_run_goes_where_there_is_memory(
    machine: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine([Board("GPU-a", used=20 * GB), Board("GPU-b")])
    monkeypatch.delenv(claims.GPUS, raising=False)
    taken = [claims.claim(9 * GB, tmp_path) for _ in range(2)]
    assert [each.gpus for each in taken if each] == [("GPU-b",), ("GPU-b",)]
    assert claims.why_waiting([Gpu("a", 24 * GB, 20 * GB), Gpu("b", 24 * GB)], 9 * GB) == (
        "waiting for a free GPU: 9 GB are needed, and in use are 20 of 24 GB"
    )
