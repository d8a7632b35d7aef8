"""The doctor: each lack is named, with the remedy, and only what the default job needs counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from envs.retro_roms import MARIO_GAMES
from workflow.config.requirements import lacking
from workflow.setup import checks, doctor, findings
from workflow.setup.driver import Driver
from workflow.setup.locks import lock_files, pins

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the only one on the search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def python_says(monkeypatch: pytest.MonkeyPatch, ok: bool, answer: str) -> None:
    monkeypatch.setattr(checks, "ask_python", lambda code, **environment: (ok, answer))


def test_a_command_that_is_absent_fails_hangs_or_crashes_is_told(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "SECONDS", 0.2)
    program(programs, "fails", "echo first >&2; echo last >&2; exit 3")
    program(programs, "crashes", "kill -SEGV $$")
    program(programs, "hangs", "read line < /dev/zero")
    assert findings.ask(["nowhere"]) == (False, "not installed")
    assert findings.ask(["fails"]) == (False, "last")
    assert findings.ask(["crashes"]) == (False, "died of signal 11")
    assert findings.ask(["hangs"]) == (False, "no answer (TimeoutExpired)")


def test_engines_and_slurm_are_not_needed(programs: Path) -> None:
    for finding in (checks.containers(), checks.slurm()):
        assert finding.mark == "absent"
        assert finding.remedy.startswith("only ")


def test_a_dead_docker_daemon_is_told_and_another_engine_serves(programs: Path) -> None:
    program(programs, "docker", "echo 'Cannot connect' >&2; exit 1")
    assert checks.containers().found == "docker: Cannot connect"
    program(programs, "apptainer", "echo apptainer version 1.3")
    assert checks.containers().mark == "ok"


def test_a_dead_slurm_controller_is_told(programs: Path) -> None:
    program(programs, "sinfo", '[ "$1" = --version ] && echo slurm 22.05 && exit; exit 1')
    assert "controller does not answer" in checks.slurm().remedy


def test_packages_that_differ_from_the_locks_are_named() -> None:
    locked = {
        key: value for path in lock_files("cpu") for key, value in pins(path.read_text()).items()
    }
    assert checks.packages(locked, "cpu", (3, 11)).mark == "ok"
    wrong = checks.packages({**locked, "numpy": "2.0"}, "cpu", (3, 11))
    assert wrong.mark == "missing"
    assert f"numpy 2.0 instead of {locked['numpy']}" in wrong.found
    assert "make setup" in wrong.remedy
    assert checks.packages({}, "cpu", (3, 11)).found == "not installed"
    del locked["procgen-mirror"]
    assert "procgen-mirror missing" in checks.packages(locked, "cpu", (3, 12)).found
    assert "procgen-mirror" not in checks.packages(locked, "cpu", (3, 13)).found


@pytest.mark.parametrize(
    ("build", "found", "remedy"),
    [
        ("cpu", None, "not needed here"),
        ("cuda", None, "not needed here"),
        ("cpu", Driver("580.65.06"), "`make setup TORCH=cuda`"),
        ("cpu", Driver("535.104.05"), "`make setup TORCH=cuda12`"),
        ("cpu", Driver("470.57"), "install driver 580 or newer"),
        ("cuda", Driver("535.104.05"), "driver 580 or newer, or `make setup TORCH=cuda12`"),
        ("cuda12", Driver("470.57"), "install driver 525 or newer"),
        ("cuda", Driver("580.65.06", complaint="No devices were found"), "see `nvidia-smi`"),
        ("cuda", Driver("580.65.06"), "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_gpu_that_cannot_be_used_comes_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, build: str, found: Driver | None, remedy: str
) -> None:
    answer: dict[str, object] = {"version": "2.13.0", "cuda": "13.0", "gpus": []}
    python_says(monkeypatch, True, json.dumps(answer))
    pytorch, gpu = checks.torch_build(build, found)
    assert (pytorch.mark, gpu.mark) == ("ok", "absent")
    assert remedy in gpu.remedy


def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"version": "2.13.0", "cuda": "13.0", "gpus": ["NVIDIA X"]}
    python_says(monkeypatch, True, json.dumps(answer))
    assert checks.torch_build("cuda", Driver("580.65.06"))[1].found == "NVIDIA X (CUDA 13.0)"


@pytest.mark.parametrize(
    ("faster", "mark", "remedy"),
    [
        (None, "ok", ""),
        (["bfloat16", 2.04], "absent", "bfloat16 is 2.0 times as fast as the default: "),
    ],
)
def test_the_doctor_says_which_precision_is_fast_here(
    monkeypatch: pytest.MonkeyPatch, faster: object, mark: str, remedy: str
) -> None:
    told = {"speed": {"float32": 1.34e11, "bfloat16": 7.9e10}, "faster": faster}
    python_says(monkeypatch, True, json.dumps(told))
    found = checks.products()
    assert (found.mark, found.found) == (mark, "float32 134, bfloat16 79 GFLOP/s (one thread)")
    assert found.remedy.startswith(remedy)


def test_a_simulator_that_does_not_import_comes_with_its_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python_says(monkeypatch, False, "ModuleNotFoundError: No module named 'procgen'")
    needed = frozenset({"popgym"})
    found = {finding.what: finding for finding in checks.simulators(needed, (3, 11))}
    assert len(found) == len(checks.SIMULATORS)
    procgen = found["simulator of procgen"]
    assert procgen.mark == "absent"
    assert "pip install procgen-mirror==0.10.7" in procgen.remedy
    assert found["simulator of popgym"].mark == "missing"
    python_says(monkeypatch, False, "ImportError: Failed to load GLFW3 shared library.")
    assert "apt-get install libx11-6" in checks.simulators(needed, (3, 11))[0].remedy


def test_a_simulator_without_a_wheel_for_this_python_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python_says(monkeypatch, True, "")
    found = checks.simulators(frozenset(checks.SIMULATORS), (3, 13))
    (procgen,) = (finding for finding in found if finding.mark != "ok")
    assert (procgen.what, procgen.mark) == ("simulator of procgen", "absent")
    assert procgen.found == "procgen-mirror has no wheel for Python 3.13"
    assert "`make setup PYTHON=python3.11`" in procgen.remedy


def test_simulators_in_use_are_those_that_parameter_files_name() -> None:
    assert checks.simulators_in_use() == set(checks.SIMULATORS)


@pytest.mark.parametrize(("kib", "mark"), [(1_000_000, "missing"), (8_000_000, "ok")])
def test_too_little_memory_counts(tmp_path: Path, kib: int, mark: str) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {kib} kB\n")
    assert checks.memory(tmp_path / "meminfo").mark == mark


def test_too_little_disk_counts() -> None:
    finding = checks.enough("disk", checks.GIB, checks.DISK_NEEDED, "buy one")
    assert (finding.mark, finding.found) == ("missing", "1.0 GiB free, 5 needed")


@pytest.mark.parametrize(
    ("config", "mark", "found"),
    [
        ("", "absent", "none"),
        ("[core]\nremote = a\n", "absent", "none"),
        ("[core]\nremote = a\n['remote \"a\"']\nurl = ../.dvc-storage\n", "ok", "this checkout"),
        ("[core]\nremote = a\n['remote \"a\"']\nurl = s3://bucket/x\n", "ok", "a: s3://bucket/x"),
    ],
)
def test_the_dvc_remote_is_told(tmp_path: Path, config: str, mark: str, found: str) -> None:
    (tmp_path / "config").write_text(config)
    finding = checks.dvc_remote(tmp_path)
    assert finding.mark == mark
    assert found in finding.found


def test_a_local_dvc_configuration_wins(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[core]\nremote = a\n['remote \"a\"']\nurl = b\n")
    (tmp_path / "config.local").write_text("['remote \"a\"']\nurl = s3://mine\n")
    assert checks.dvc_remote(tmp_path).found == "a: s3://mine"


@pytest.mark.parametrize("wrong", [(), ("SuperMarioBros-Nes",), MARIO_GAMES])
def test_roms_that_lack_are_named(monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...]) -> None:
    problems = {game: "is missing" if game in wrong else None for game in MARIO_GAMES}
    python_says(monkeypatch, True, json.dumps(problems))
    finding = checks.roms()
    assert finding.mark == ("absent" if wrong else "ok")
    assert ("make retro-roms FROM=folder" in finding.remedy) == bool(wrong)
    assert [game for game in MARIO_GAMES if game in finding.found] == list(wrong)


def test_the_line_on_roms_is_what_the_benchmark_says() -> None:
    finding = checks.roms()
    assert finding.mark == ("absent" if lacking("retro") else "ok")


def test_before_set_up_it_is_the_one_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checks, findings):
        monkeypatch.setattr(module, "interpreter", lambda: Path("/usr/nowhere/python"))
    monkeypatch.setattr(findings, "STAMP", Path("/usr/nowhere/stamp"))
    report = doctor.examine()
    remedies = [finding.remedy for finding in report if "make setup" in finding.remedy]
    assert len(remedies) == 2  # Python's own, and the packages'
    assert remedies[1].startswith("`make setup`, then `make doctor` again")
    assert not any("simulator of" in finding.what for finding in report)
    monkeypatch.setattr(findings, "can_make_venv", lambda: False)
    assert checks.packages({}, "cpu", (3, 11)).remedy.startswith("apt-get install python3.")


@pytest.mark.parametrize(("needed", "code"), [(True, 1), (False, 0)])
def test_only_what_is_needed_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], needed: bool, code: int
) -> None:
    lack = findings.Finding("thing", "none", "buy one", needed)
    monkeypatch.setattr(doctor, "examine", lambda: [lack, findings.Finding("other", "fine")])
    assert doctor.main() == code
    printed = capsys.readouterr().out
    assert "thing  none  ->  buy one" in printed
    assert ("see thing." in printed) == needed


def test_the_real_report_is_plain_when_piped_and_its_exit_code_true() -> None:
    command = [sys.executable, "-m", "workflow.setup", "doctor"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "\x1b" not in done.stdout
    assert done.returncode == ("\nmissing" in done.stdout)
    assert done.stdout.count("simulator of") >= len(checks.SIMULATORS)
