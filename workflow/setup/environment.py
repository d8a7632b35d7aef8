"""The locked environment: `install` puts `.venv` up from the hash locks, `lock` makes the locks.

Needs the standard library only, since it runs before anything is installed, and reads on older
Pythons too, to say there that they are too old. There are three locks: everything but PyTorch,
and PyTorch either for the CPU or for CUDA. No single file can hold both builds, as installers
would then take the CUDA one everywhere.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "containers"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
"""Written last: a `.venv` without it was interrupted, and is made anew."""

TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DRIVER_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
BOOTSTRAP = ("uv", "setuptools")
"""Installed by pip before the rest: uv, ten times faster, and what builds the source packages."""

PIP_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
PIP_VARIABLES = {"cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}


def say(text: str) -> None:
    """Print one line of progress at once, so that it precedes the output of what it announces."""
    print(f"set-up: {text}", flush=True)


# --- the locks ---------------------------------------------------------------------------------


def blocks(text: str) -> dict[str, str]:
    """A lock's text as {package: its lines}, the hashes included."""
    parts = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {part.split("==")[0]: part for part in parts if "==" in part}


def pins(text: str) -> dict[str, str]:
    """A lock's text as {package: version}."""
    return {
        name: block.removeprefix(name).lstrip("=").split(maxsplit=1)[0]
        for name, block in blocks(text).items()
    }


def torch_for_this_machine(signs: Sequence[str] = DRIVER_SIGNS) -> str:
    """`cuda` where the kernel has an NVIDIA driver, else `cpu`."""
    return "cuda" if any(Path(sign).exists() for sign in signs) else "cpu"


def lock_files(torch: str) -> list[Path]:
    """The two locks that together are the environment."""
    return [LOCKS / "base.lock", LOCKS / f"torch-{torch}.lock"]


# --- how pip was configured, told to uv ----------------------------------------------------------


@cache
def pip_configuration(python: Path) -> dict[str, str]:
    """What pip goes by for `install`: files first, then the command's section, then variables."""
    command = [str(python), "-m", "pip", "config", "list"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    merged = {}
    for section in ("global.", "install.", ":env:."):
        for key, value in found.items():
            if key.startswith(section):
                merged[key.removeprefix(section)] = str(ast.literal_eval(value))
    return merged


def uv_options(configuration: Mapping[str, str]) -> list[str]:
    """The same sources for uv, which does not read pip's configuration."""
    options = []
    for key, option in PIP_OPTIONS.items():
        for value in configuration.get(key, "").split():
            options += [option, value]
    if configuration.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    # As pip does, look at all indexes and not at the first that knows the name: hashes protect.
    return [*options, "--index-strategy", "unsafe-best-match"]


def uv_environment(configuration: Mapping[str, str]) -> dict[str, str]:
    """Variables for uv: pip's certificate and proxy unless set already, and no banner."""
    known = {
        variable: configuration[key]
        for key, variable in PIP_VARIABLES.items()
        if key in configuration
    }
    return {"UV_HTTP_TIMEOUT": "120", **known, **os.environ}


# --- install -------------------------------------------------------------------------------------


def install(torch: str) -> None:
    """Bring `.venv` to what the locks say, doing nothing where it is there already."""
    missing = [path for path in lock_files(torch) if not path.exists()]
    if missing:
        sys.exit(f"set-up: {missing[0].relative_to(ROOT)} is missing; `git checkout` it back")
    locked, project = fingerprints(torch)
    before = STAMP.read_text().split() if STAMP.exists() and PYTHON.exists() else []
    if before == [locked, project]:
        say("nothing to do, .venv matches the locks")
        return
    if before[:1] != [locked]:
        install_locks(torch)
    STAMP.unlink(missing_ok=True)
    say("the packages of this repository")
    uv_install("--no-build-isolation", "--no-deps", "--offline", "--editable", str(ROOT))
    STAMP.write_text(f"{locked} {project}\n")
    say("done")


def fingerprints(torch: str) -> tuple[str, str]:
    """Hashes of what decides the installed packages, and of what decides our own entry points."""
    locked = hashlib.sha256(os.fsencode(ROOT))  # a moved environment's scripts do not start
    for path in lock_files(torch):
        locked.update(path.read_bytes())
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    return locked.hexdigest(), project.hexdigest()


def install_locks(torch: str) -> None:
    """Make `.venv` anew and install the locks, every file checked against its hash."""
    say(f"a new .venv with Python {sys.version.split()[0]} and PyTorch for {torch.upper()}")
    STAMP.unlink(missing_ok=True)
    base = getattr(sys, "_base_executable", sys.executable)  # not the .venv that is replaced
    run(base, "-m", "venv", "--clear", VENV)
    bootstrap()
    options = uv_options(pip_configuration(PYTHON))
    locked = ["--no-deps", "--require-hashes", "--no-build-isolation"]
    say("all packages but PyTorch")
    uv_install(*locked, *options, "--requirement", LOCKS / "base.lock")
    say(f"PyTorch for {torch.upper()}")
    install_torch(torch, [*locked, "--requirement", LOCKS / f"torch-{torch}.lock"], options)
    say("bytecode of all packages")
    compile_packages()


def compile_packages() -> None:
    """Once, here: where Python keeps no bytecode, each of hundreds of jobs would compile PyTorch.

    Some packages carry files for other Pythons, which do not compile and are never imported.
    """
    packages = VENV / "lib" / "python3.11" / "site-packages"
    subprocess.run([PYTHON, "-m", "compileall", "-qq", "-j", "0", packages])


def bootstrap() -> None:
    """Install by pip what installs the rest, from its own lines of the lock."""
    locked = blocks((LOCKS / "base.lock").read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(locked[name] for name in BOOTSTRAP))
        file.flush()
        pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        run(*pip, "--no-deps", "--require-hashes", "--requirement", file.name)


def install_torch(torch: str, what: Sequence[str | Path], options: Sequence[str]) -> None:
    """Install PyTorch; the CPU build, which PyPI lacks, from PyTorch's index if need be."""
    if torch == "cuda" or "--no-index" in options:
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
    command = [VENV / "bin" / "uv", "pip", "install", "--python", PYTHON, *arguments]
    if not sys.stderr.isatty():
        command.append("--quiet")  # two hundred lines that nobody watches
    environment = uv_environment(pip_configuration(PYTHON))
    return subprocess.run(command, env=environment, stderr=errors).returncode == 0


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


# --- lock ----------------------------------------------------------------------------------------


def lock(upgrade: bool) -> None:
    """Write the three locks anew; without `upgrade`, packages keep their versions if they can."""
    kept = "" if upgrade else "".join(path.read_text() for path in sorted(LOCKS.glob("*.lock")))
    base = blocks(resolve(f"torch=={TORCH}+cpu", kept, "pyproject.toml", "--all-extras"))
    write("torch-cpu", {"torch": base.pop("torch")})
    write("base", base)
    versions = pins("".join(base.values()))
    limits = "".join(f"{name}=={version}\n" for name, version in versions.items())
    # The third = shuts out the CPU build, which installers else take for a (newer) 2.13.0 too.
    cuda = blocks(resolve(f"torch==={TORCH}", kept, constraints=limits))
    cuda["torch"] = cuda["torch"].replace("==", "===", 1)
    write("torch-cuda", {name: block for name, block in cuda.items() if name not in base})


def resolve(torch: str, kept: str, *what: str, constraints: str = "") -> str:
    """Let uv find versions and hashes for this PyTorch together with `what`."""
    uv = VENV / "bin" / "uv" if PYTHON.exists() else shutil.which("uv")
    if not uv:
        sys.exit("set-up: there is no uv to make the locks with; `pip install uv`, then again")
    configuration = pip_configuration(PYTHON if PYTHON.exists() else Path(sys.executable))
    with tempfile.TemporaryDirectory() as folder:
        result, limits = Path(folder, "all.lock"), Path(folder, "constraints.txt")
        result.write_text(kept)
        limits.write_text(constraints)
        command = [uv, "pip", "compile", "-", *what, "--constraints", limits]
        command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
        command += ["--output-file", result, *uv_options(configuration)]
        variables = uv_environment(configuration)
        done = subprocess.run(command, input=torch, text=True, cwd=ROOT, env=variables)
        if done.returncode:
            sys.exit(
                "set-up: no new locks, uv's lines above say why. If it is PyTorch's CPU build "
                f"that is not found: PIP_FIND_LINKS={CPU_INDEX}/torch/ make lock"
            )
        return result.read_text()


def write(name: str, locked: Mapping[str, str]) -> None:
    """Write one lock, atomically."""
    path = LOCKS / f"{name}.lock"
    part = path.with_suffix(".part")
    part.write_text("# Made by `make lock`; not edited by hand.\n" + "".join(locked.values()))
    os.replace(part, path)
    say(f"{path.relative_to(ROOT)}: {len(locked)} packages")


# --- command line --------------------------------------------------------------------------------


def check_python() -> None:
    """Stop with a sentence where this Python cannot carry the environment."""
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"set-up: this is Python {found}, but the locked packages are for Python 3.11; install "
            "it (Debian: apt-get install python3.11-venv) and name it: make setup PYTHON=python3.11"
        )
    if not importlib.util.find_spec("ensurepip"):
        sys.exit(
            "set-up: this Python cannot make environments, as its venv parts are missing; "
            "on Debian: apt-get install python3.11-venv"
        )


@contextmanager
def alone() -> Iterator[None]:
    """Let one set-up at a time work on this checkout; a second one waits for the first."""
    with (ROOT / "pyproject.toml").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """`install [--torch cpu|cuda]` or `lock [--upgrade]`."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow.setup.environment", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="bring .venv to what the locks say")
    installing.add_argument("--torch", choices=["cpu", "cuda"], default=torch_for_this_machine())
    locking = commands.add_parser("lock", help="make the locks anew")
    locking.add_argument("--upgrade", action="store_true", help="take the newest versions")
    chosen = parser.parse_args(arguments)
    check_python()
    try:
        with alone():
            install(chosen.torch) if chosen.command == "install" else lock(chosen.upgrade)
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the same command begins anew and keeps what it downloaded")


if __name__ == "__main__":
    main()
