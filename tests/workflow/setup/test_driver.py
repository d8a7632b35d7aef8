"""What is understood of the driver, from a stand-in for nvidia-smi: no GPU is needed here."""

from pathlib import Path

import pytest

from workflow.setup import driver, environment
from workflow.setup.driver import Driver, Gpu

A100, V100, P100 = (
    Gpu("NVIDIA A100-SXM4-80GB", (8, 0)), Gpu("Tesla V100-PCIE", (7, 0)), Gpu("P100", (6, 0))
)  # fmt: skip


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a driver, whose `nvidia-smi` is to be written."""
    monkeypatch.setattr(driver, "SIGNS", (str(tmp_path),))
    monkeypatch.setattr(driver, "VERSION", tmp_path / "version")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def says(smi: Path, *lines: str, code: int = 0) -> None:
    smi.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {code}\n")
    smi.chmod(0o755)


def test_driver_and_gpus_are_read(smi: Path) -> None:
    says(smi, "580.65.06, 8.0, NVIDIA A100-SXM4-80GB", "580.65.06, 7.0, Tesla V100-PCIE")
    assert driver.find() == Driver("580.65.06", (A100, V100))
    assert environment.torch_for_this_machine() == "cuda"
    assert driver.problem("cuda") is None


def test_an_older_driver_gets_the_older_pytorch(smi: Path) -> None:
    says(smi, "550.54.15, 9.0, NVIDIA H100 80GB HBM3")
    assert environment.torch_for_this_machine() == "cuda12"
    assert driver.problem("cuda") == (
        "NVIDIA driver 550.54.15, and CUDA 13.0 needs 580; install driver 580 or newer, or "
        "`make setup TORCH=cuda12`"
    )
    assert driver.problem("cuda12") is None
    assert driver.problem("cpu") is None


def test_a_driver_that_is_too_old_for_all_is_said(smi: Path) -> None:
    says(smi, "470.57.02, 8.0, NVIDIA A100-SXM4-80GB")
    assert driver.problem("cuda") == (
        "NVIDIA driver 470.57.02, and CUDA 13.0 needs 580; install driver 580 or newer"
    )


def test_the_newest_gpu_decides() -> None:
    assert Driver("580.1", (P100, A100)).problem("cuda") is None
    old = Driver("580.1", (P100, V100))
    assert old.best_build() == "cuda12"
    assert old.problem("cuda") == (
        "Tesla V100-PCIE has compute capability 7.0, and PyTorch for CUDA 13.0 needs 7.5",
        "use a newer GPU, or `make setup TORCH=cuda12`",
    )
    assert Driver("580.1", (P100,)).problem("cuda12") == (
        "P100 has compute capability 6.0, and PyTorch for CUDA 12.8 needs 7.0",
        "use a newer GPU",
    )


def test_a_driver_that_does_not_answer_is_told_in_its_own_words(smi: Path) -> None:
    says(smi, "NVIDIA-SMI has failed because it could not reach the driver.", code=9)
    found = driver.find()
    assert found
    assert found.problem("cuda") == (
        "NVIDIA-SMI has failed because it could not reach the driver.",
        "see `nvidia-smi`; often the machine must be started anew",
    )


def test_without_nvidia_smi_the_kernel_tells_its_driver(smi: Path) -> None:
    assert driver.find() == Driver()
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n"
    (smi.parent / "version").write_text(text)
    assert driver.find() == Driver("535.104.05")
    (smi.parent / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
    )
    assert driver.find() == Driver("580.65.06")
    assert environment.torch_for_this_machine() == "cuda"


def test_without_a_driver_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(driver, "SIGNS", (str(tmp_path / "nothing"),))
    assert environment.torch_for_this_machine() == "cpu"
    assert driver.problem("cuda") is None


def test_a_build_is_known_by_its_version() -> None:
    assert {environment.build_of(version) for version in environment.BUILDS.values()} == set(
        environment.BUILDS
    )
    for build, version in environment.BUILDS.items():
        assert environment.build_of(version) == build
    assert environment.build_of("2.10.0+cu128") == "cuda12"
