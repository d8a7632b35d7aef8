"""Install `.venv` from the hash locks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from workflow.setup import driver, environment
from workflow.setup.environment import (
    BUILDS,
    CPU_INDEX,
    TORCH,
    build_of,
    say,
    torch_for_this_machine,
)
from workflow.setup.locks import blocks, dotted, lock_files
from workflow.setup.sources import pip_configuration, uv_environment, uv_options

BOOTSTRAP = ("uv", "setuptools")
"""Installed by pip before the rest: uv, ten times faster, and what builds the source packages."""


def install(torch: str | None = None) -> None:
    """Bring `.venv` to what the locks say, doing nothing where it is there already.

    Without `torch`, it keeps the build of PyTorch that it has; a new one gets the machine's.
    """
    check_ours()
    if not torch and (torch := installed_torch()):
        say_what_is_kept(torch)
    torch = torch or torch_for_this_machine()
    missing = [path for path in lock_files(torch) if not path.exists()]
    if missing:
        name = missing[0].relative_to(environment.ROOT)
        sys.exit(f"set-up: {name} is missing; `git checkout` it back")
    locked, project = fingerprints(torch)
    there = environment.STAMP.exists() and environment.PYTHON.exists()
    before = environment.STAMP.read_text().split() if there else []
    if before == [locked, project]:
        say("nothing to do, .venv matches the locks")
        return
    if before[:1] != [locked]:
        install_locks(torch)
    environment.STAMP.unlink(missing_ok=True)
    say("the packages of this repository")
    uv_install(
        "--no-build-isolation", "--no-deps", "--offline", "--editable", str(environment.ROOT)
    )
    environment.STAMP.write_text(f"{locked} {project}\n")
    say("done")


def check_ours() -> None:
    """Stop with a sentence if `.venv` is a link, or is not what set-up made."""
    venv, marker = environment.VENV, environment.MARKER
    if venv.is_symlink():
        sys.exit(
            f"set-up: {venv} is a link to {venv.readlink()}, whose content set-up would delete; "
            "remove the link (`rm .venv`), then again"
        )
    if not venv.exists() or marker.is_file():
        return
    if not venv.is_dir():
        sys.exit(f"set-up: {venv} is a file; move it away, then again")
    if any(venv.iterdir()):
        if not made_by_older_set_up():
            sys.exit(
                f"set-up: {venv} was not made by set-up, which would delete what is in it; move it "
                "away (`mv .venv my-venv`) or delete it, then again"
            )
        marker.touch()


def made_by_older_set_up() -> bool:
    """Whether `.venv` has the two digests that a set-up which wrote no marker left at its end."""
    try:
        digests = environment.STAMP.read_text()
    except (OSError, ValueError):
        return False
    return re.fullmatch(r"[0-9a-f]{64} [0-9a-f]{64}\n", digests) is not None


def installed_torch() -> str | None:
    """The build of PyTorch in `.venv`, or that an interrupted set-up was to install."""
    found = [path.name for path in site_packages().glob("torch-*.dist-info")]
    if found:
        return build_of(found[0].removeprefix("torch-").removesuffix(".dist-info"))
    try:
        intended = environment.MARKER.read_text().strip()
    except OSError:
        return None
    return intended if intended in BUILDS else None


def say_what_is_kept(torch: str) -> None:
    """Tell of a build that is not the one that this machine would get: it stays, unless asked."""
    if torch != "cpu" and not driver.is_seen():
        say(
            f"keeping PyTorch for {torch.upper()}, though no NVIDIA driver is seen here; "
            "for another: make setup TORCH=cpu"
        )
    if torch == "cpu" and driver.is_seen():
        say("keeping PyTorch for CPU, though this machine has a GPU; for it: make setup TORCH=cuda")


def check_unused() -> None:
    """Stop with a sentence if a reproduction is running here, whose jobs use `.venv`."""
    path = environment.ROOT / ".snakemake" / "reproduce.lock"
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError:
        sys.exit(
            "set-up: the locks have changed, or another PyTorch is asked for, and `make reproduce` "
            f"(process {path.read_text().strip()}) uses the present .venv; wait for it, or stop it"
        )


def site_packages() -> Path:
    """Where `.venv` has its packages; nowhere yet if it was made with another Python."""
    return environment.VENV / "lib" / f"python{dotted(sys.version_info[:2])}" / "site-packages"


def make_venv(torch: str) -> None:
    """Make `.venv` anew, and note which build of PyTorch it is for."""
    environment.VENV.mkdir(exist_ok=True)
    environment.MARKER.write_text(f"{torch}\n")
    clear_venv()
    base = getattr(sys, "_base_executable", sys.executable)  # not the .venv that is replaced
    run(base, "-m", "venv", environment.VENV)


def clear_venv() -> None:
    """Delete all of `.venv` but the marker, so that after a kill it is still known as ours."""
    for path in environment.VENV.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != environment.MARKER:
            path.unlink()


def fingerprints(torch: str) -> tuple[str, str]:
    """Hashes of what decides the installed packages, and of what decides our own entry points."""
    # The path counts, as the scripts of a moved environment do not start.
    locked = hashlib.sha256(os.fsencode(environment.ROOT))
    locked.update(dotted(sys.version_info[:2]).encode())
    for path in lock_files(torch):
        locked.update(path.read_bytes())
    project = hashlib.sha256((environment.ROOT / "pyproject.toml").read_bytes())
    return locked.hexdigest(), project.hexdigest()


def install_locks(torch: str) -> None:
    """Make `.venv` anew and install the locks, every file checked against its hash."""
    say(f"a new .venv with Python {sys.version.split()[0]} and PyTorch for {torch.upper()}")
    check_unused()
    environment.STAMP.unlink(missing_ok=True)
    make_venv(torch)
    bootstrap()
    options = uv_options(pip_configuration(environment.PYTHON))
    locked = ["--no-deps", "--require-hashes", "--no-build-isolation"]
    say("all packages but PyTorch")
    uv_install(*locked, *options, "--requirement", environment.LOCKS / "base.lock")
    say(f"PyTorch for {torch.upper()}")
    install_torch(
        torch, [*locked, "--requirement", environment.LOCKS / f"torch-{torch}.lock"], options
    )
    say("bytecode of all packages")
    compile_packages()


def compile_packages() -> None:
    """Once, here: where Python keeps no bytecode, each of hundreds of jobs would compile PyTorch.

    Some packages carry files for other Pythons, which do not compile and are never imported.
    """
    subprocess.run([environment.PYTHON, "-m", "compileall", "-qq", "-j", "0", site_packages()])


def bootstrap() -> None:
    """Install by pip what installs the rest, from its own lines of the lock."""
    locked = blocks((environment.LOCKS / "base.lock").read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(locked[name] for name in BOOTSTRAP))
        file.flush()
        pip = (environment.PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        run(*pip, "--no-deps", "--require-hashes", "--requirement", file.name)


def install_torch(torch: str, what: Sequence[str | Path], options: Sequence[str]) -> None:
    """Install PyTorch; the CPU build, which PyPI lacks, from PyTorch's index if need be."""
    if torch != "cpu" or "--no-index" in options:
        uv_install(*what, *options)
        return
    # The configured sources come first: a machine that has the wheel need not reach that index.
    if uv(*what, *options, errors=subprocess.DEVNULL):
        return
    say(f"no configured source has it; asking {CPU_INDEX}")
    if not uv(*what, "--default-index", CPU_INDEX):
        sys.exit(
            f"set-up: PyTorch's CPU build cannot be had from {CPU_INDEX}; reach it, or name a "
            f"folder that holds torch {TORCH}+cpu (PIP_FIND_LINKS=FOLDER make setup), or take "
            "PyPI's larger build, which runs on CPUs too (make setup TORCH=cuda)"
        )


def uv(*arguments: str | Path, errors: int | None = None) -> bool:
    """Run `uv pip install` into `.venv`; whether it worked."""
    command = [
        environment.VENV / "bin" / "uv",
        "pip",
        "install",
        "--python",
        environment.PYTHON,
        *arguments,
    ]
    if not sys.stderr.isatty():
        command.append("--quiet")  # two hundred lines that nobody watches
    variables = uv_environment(pip_configuration(environment.PYTHON))
    return subprocess.run(command, env=variables, stderr=errors).returncode == 0


def uv_install(*arguments: str | Path) -> None:
    """Run `uv pip install` where nothing else can be tried if it fails."""
    if not uv(*arguments):
        give_up("uv pip install")


def run(*command: str | Path) -> None:
    """Run a command that must succeed."""
    if subprocess.run(command).returncode:
        give_up(" ".join(Path(part).name for part in map(str, command[:3])))


def give_up(what: str) -> NoReturn:
    """Stop with the sentence that says how to go on."""
    sys.exit(
        f"set-up: `{what}` failed; its lines above say why. Put that right and run `make setup` "
        "again: nothing downloaded is lost."
    )
