"""Set-up: what it does when, and the sentences it stops with. Nothing is really installed here."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from workflow.setup import __main__ as command_line
from workflow.setup import doctor, driver, environment, install, locks, sources

ROOT = Path(__file__).resolve().parents[3]
LOCK = "# made\nuv==1.0 \\\n    --hash=sha256:aa\nsetuptools==2 \\\n    --hash=sha256:bb\n"
STEPS = ["venv", "pip", "base.lock", "torch-cpu.lock", "bytecode", "editable"]


class Checkout:
    """A checkout in a temporary folder, and what set-up ran on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[str] = []
        self.failing: set[str] = set()
        (root / "containers").mkdir()
        (root / "pyproject.toml").write_text("[project]\n")
        for name in ("base", *(f"torch-{build}" for build in environment.BUILDS)):
            (root / "containers" / f"{name}.lock").write_text(f"# {name}\n{LOCK}")

    def subprocess_run(self, command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words = " ".join(map(str, command))
        builds = [f"torch-{build}.lock" for build in environment.BUILDS]
        names = ["config", "-m venv", "base.lock", *builds]
        step = next((name for name in names if name in words), "pip")
        step = "editable" if "--editable" in words else step.removeprefix("-m ")
        step = "bytecode" if "compileall" in words else step
        if environment.CPU_INDEX in words:
            step = "official index"
        if step == "config":
            return subprocess.CompletedProcess(command, 0, stdout="")
        if step == "venv":
            (self.root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
            (self.root / ".venv" / "bin" / "python").touch()
        self.steps.append(step)
        return subprocess.CompletedProcess(command, int(step in self.failing))

    def install(self, torch: str | None = "cpu") -> list[str]:
        """The steps that set-up takes now."""
        self.steps.clear()
        install.install(torch)
        return list(self.steps)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    checkout = Checkout(tmp_path)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCKS", tmp_path / "containers")
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "installed")
    monkeypatch.setattr(environment, "MARKER", tmp_path / ".venv" / "made-by-setup")
    monkeypatch.setattr(subprocess, "run", checkout.subprocess_run)
    sources.pip_configuration.cache_clear()
    return checkout


def test_a_second_set_up_does_nothing(checkout: Checkout) -> None:
    assert checkout.install() == STEPS
    assert checkout.install() == []


def test_a_link_is_never_followed(checkout: Checkout) -> None:
    other = checkout.root / "other"
    (other / "lib").mkdir(parents=True)
    (checkout.root / ".venv").symlink_to("other")
    with pytest.raises(SystemExit, match=r"\.venv is a link to other, .*`rm \.venv`"):
        checkout.install()
    assert [path.name for path in other.iterdir()] == ["lib"]
    assert checkout.steps == []


def test_somebody_elses_venv_is_left_alone(checkout: Checkout) -> None:
    checkout.install()
    environment.MARKER.unlink()
    (environment.VENV / "mine").touch()
    for stamp in (None, "", "0 1\n", f"{'0' * 64}\n"):
        environment.STAMP.unlink(missing_ok=True)
        if stamp is not None:
            environment.STAMP.write_text(stamp)
        with pytest.raises(SystemExit, match=r"\.venv was not made by set-up"):
            checkout.install()
    assert (environment.VENV / "mine").exists()
    shutil.rmtree(environment.VENV)
    environment.VENV.touch()
    with pytest.raises(SystemExit, match=r"\.venv is a file"):
        checkout.install()


def test_the_venv_of_an_older_set_up_is_known_by_its_digests(checkout: Checkout) -> None:
    checkout.install()
    environment.MARKER.unlink()
    assert checkout.install() == []
    assert environment.MARKER.exists()


def test_the_build_of_pytorch_changes_only_if_asked(checkout: Checkout) -> None:
    assert "torch-cuda.lock" in checkout.install("cuda")
    packages = install.site_packages()
    (packages / "torch-2.13.0.dist-info").mkdir(parents=True)
    assert checkout.install(None) == []
    (checkout.root / "containers" / "base.lock").write_text(LOCK + "x==1\n")
    assert "torch-cuda.lock" in checkout.install(None)
    (packages / "torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    assert "torch-cpu.lock" in checkout.install(None)
    assert not (packages / "torch-2.13.0.dist-info").exists()


def test_what_is_kept_though_the_machine_would_get_another_is_said(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a login node no driver is seen; a CUDA environment stays, and is made anew as one."""
    monkeypatch.setattr(driver, "is_seen", lambda: False)
    checkout.install("cuda")
    (install.site_packages() / "torch-2.13.0.dist-info").mkdir(parents=True)
    capsys.readouterr()
    assert checkout.install(None) == []
    assert "keeping PyTorch for CUDA, though no NVIDIA driver is seen" in capsys.readouterr().out
    checkout.install("cpu")
    (install.site_packages() / "torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    monkeypatch.setattr(driver, "is_seen", lambda: True)
    capsys.readouterr()
    assert checkout.install(None) == []
    assert "though this machine has a GPU" in capsys.readouterr().out


@pytest.mark.parametrize("build", ["cuda", "cuda12"])
def test_an_interrupted_set_up_goes_on_with_the_build_that_was_asked_for(
    checkout: Checkout, build: str
) -> None:
    checkout.failing = {f"torch-{build}.lock"}
    with pytest.raises(SystemExit):
        checkout.install(build)
    checkout.failing.clear()
    assert f"torch-{build}.lock" in checkout.install(None)


def test_an_environment_that_jobs_use_is_not_replaced(checkout: Checkout) -> None:
    checkout.install()
    lock = checkout.root / ".snakemake" / "reproduce.lock"
    lock.parent.mkdir()
    with FileLock(lock):
        lock.write_text("4711")
        assert checkout.install() == []
        with pytest.raises(SystemExit, match=r"`make reproduce` \(process 4711\) uses"):
            checkout.install("cuda")
        assert checkout.steps == []
    assert "torch-cuda.lock" in checkout.install("cuda")


def test_file_times_mean_nothing(checkout: Checkout) -> None:
    checkout.install()
    for path in checkout.root.rglob("*.lock"):
        os.utime(path, (0, 2**31))
    assert checkout.install() == []


def test_an_edited_pyproject_reinstalls_our_own_packages_only(checkout: Checkout) -> None:
    checkout.install()
    (checkout.root / "pyproject.toml").write_text("[project]\n# edited\n")
    assert checkout.install() == ["editable"]


def test_another_lock_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.install()
    (checkout.root / "containers" / "base.lock").write_text(LOCK + "x==1\n")
    assert checkout.install() == STEPS
    assert "torch-cuda.lock" in checkout.install("cuda")


@pytest.mark.parametrize("step", [step for step in STEPS if step != "bytecode"])
def test_what_failed_or_was_interrupted_is_done_again(checkout: Checkout, step: str) -> None:
    checkout.failing = {step, "official index"}
    with pytest.raises(SystemExit, match=r"set-up: .*make setup"):
        checkout.install()
    checkout.failing.clear()
    assert checkout.install() == STEPS


def test_a_vanished_python_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.install()
    environment.PYTHON.unlink()
    assert checkout.install() == STEPS


def test_the_official_index_is_asked_only_where_the_wheel_is_nowhere_else(
    checkout: Checkout,
) -> None:
    checkout.failing = {"torch-cpu.lock"}
    assert checkout.install() == [*STEPS[:4], "official index", "bytecode", "editable"]


def test_another_python_makes_the_environment_anew(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.install("cuda")
    (install.site_packages() / "torch-2.13.0.dist-info").mkdir(parents=True)
    other = next(each for each in environment.PYTHONS if each != sys.version_info[:2])
    monkeypatch.setattr(sys, "version_info", (*other, 1))
    assert "torch-cuda.lock" in checkout.install(None)  # the build of PyTorch stays
    assert checkout.install(None) == []


def test_a_missing_lock_is_named(checkout: Checkout) -> None:
    (checkout.root / "containers" / "torch-cpu.lock").unlink()
    with pytest.raises(SystemExit, match=r"containers/torch-cpu\.lock is missing"):
        checkout.install()


def test_a_lock_is_read_by_package() -> None:
    text = LOCK + "torch===2.13.0 \\\n    --hash=sha256:cc\n"
    assert locks.pins(text) == {"uv": "1.0", "setuptools": "2", "torch": "2.13.0"}
    assert locks.blocks(text)["uv"] == "uv==1.0 \\\n    --hash=sha256:aa\n"


def test_a_package_may_be_for_older_pythons_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linux = "and sys_platform == 'linux' \\\n    --hash=sha256:cc\n"
    text = "".join(
        f"{package} ; python_full_version < '{python}' {linux}"
        for package, python in (("old==1", "3.13"), ("new==2", "3.14"))
    )
    text = locks.plain(text)
    assert [line for line in text.splitlines() if "==" in line] == [
        "old==1 ; python_full_version < '3.13' \\",
        "new==2 \\",
    ]
    assert locks.pins(text) == locks.pins(text, (3, 12)) == {"old": "1", "new": "2"}
    assert locks.pins(text, (3, 13)) == {"new": "2"}
    monkeypatch.setattr(environment, "LOCKS", tmp_path)
    (tmp_path / "base.lock").write_text(text)
    assert locks.no_wheel("old", (3, 12)) is locks.no_wheel("new", (3, 13)) is None
    assert locks.no_wheel("of nobody", (3, 13)) is None
    assert locks.no_wheel("old", (3, 13)) == (
        "old has no wheel for Python 3.13",
        "Python 3.11 or 3.12 has one: `make setup PYTHON=python3.11`",
    )


def test_a_lock_with_another_version_for_each_python_is_refused() -> None:
    """As from an index that lacks wheels of some Python."""
    text = "a==1 ; python_full_version >= '3.12' \\\n    --hash=sha256:aa\n"
    with pytest.raises(SystemExit, match="no version of a for all Pythons"):
        locks.check(LOCK + text)


def test_pips_configuration_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links = a\ncert = c\nextra-index-url = file:///x file:///y\n"
        "[install]\nno-index = true\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_FIND_LINKS", "b")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    found = sources.pip_configuration.__wrapped__(Path(sys.executable))
    options = sources.uv_options(found)
    assert options[: options.index("--no-index")] == [
        "--index", "file:///x", "--index", "file:///y", "--find-links", "b",
    ]  # fmt: skip
    assert sources.uv_environment(found)["SSL_CERT_FILE"] == "c"


def test_another_python_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"this is Python 3\.9\.2.*3\.11, 3\.12, 3\.13.*PYTHON="):
        command_line.main(["install"])


@pytest.mark.parametrize("version", environment.PYTHONS)
def test_every_python_that_the_locks_are_for_is_taken(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    monkeypatch.setattr(command_line, "install", asked.append)
    assert command_line.main(["install"]) == 0
    assert asked == [None]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        command_line.main(["install"])


def test_the_doctors_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))  # the doctor runs on any Python
    monkeypatch.setattr(doctor, "main", lambda: 1)
    assert command_line.main(["doctor"]) == 1


MODULES = sorted(path.stem for path in (ROOT / "workflow" / "setup").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_what_runs_before_set_up_needs_no_package_and_no_new_python(name: str) -> None:
    path = ROOT / "workflow" / "setup" / f"{name}.py"
    ast.parse(path.read_text(), feature_version=(3, 9))
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import workflow.setup.{name}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
