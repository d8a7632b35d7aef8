"""The hash locks in `containers/`: how they are read, and how `make lock` makes them anew.

There is one of everything but PyTorch, and one for each build of PyTorch. No single file can
hold two builds, since installers would then take a CUDA one everywhere. That of tools which have
an environment of their own is in `tools.py`. All are for every Python of `PYTHONS`, with the same
version of a package on each; a package that not all of them have or need says so in its line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from workflow.setup import environment
from workflow.setup.environment import BUILDS, CPU_INDEX, PYTHONS, say
from workflow.setup.sources import pip_configuration, uv_environment, uv_options

EXTRAS = ("benchmarks", "pipeline", "baselines", "minari", "dev")
"""What is locked; the other extras are for those who want them."""
OVERRIDE = "numpy>=2,<3\n"
"""procgen-mirror and gym3 ask for numpy < 2 without need: docs/benchmarks.md."""
COMPILE = (
    *("--universal", "--fork-strategy", "fewest", "--python-version", "3.11"),
    *("--generate-hashes", "--no-header", "--no-annotate", "--quiet"),
)
"""Options of uv: the same versions for all Pythons of the environments in `pyproject.toml`."""
BEFORE = re.compile(r" ; python_full_version < '(\d+)\.(\d+)'")
"""The one condition in locks: only for Pythons before this one."""


def blocks(text: str) -> dict[str, str]:
    """A lock's text as {package: its lines}, the hashes included."""
    parts = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {part.split("==")[0]: part for part in parts if "==" in part}


def pins(text: str, python: tuple[int, int] = PYTHONS[0]) -> dict[str, str]:
    """A lock's text as {package: version}: all that this Python gets, by default all there are."""
    return {
        name: block.removeprefix(name).lstrip("=").split(maxsplit=1)[0]
        for name, block in blocks(text).items()
        if not (found := BEFORE.search(block)) or python < (int(found[1]), int(found[2]))
    }


def no_wheel(package: str, python: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong, and the remedy, if a package is locked for other Pythons than this alone."""
    path = lock_path("base")
    text = path.read_text() if path.exists() else ""
    found = re.search(rf"^{re.escape(package)}==\S+{BEFORE.pattern}", text, re.MULTILINE)
    if not found or python < (limit := (int(found[1]), int(found[2]))):
        return None
    others = [dotted(each) for each in PYTHONS if each < limit]
    remedy = f"Python {' or '.join(others)} has one: `make setup PYTHON=python{others[0]}`"
    return f"{package} has no wheel for Python {dotted(python)}", remedy


def dotted(python: tuple[int, int]) -> str:
    """Its version as people write it."""
    return ".".join(map(str, python))


def lock_files(torch: str) -> list[Path]:
    """The two locks that together are the environment."""
    return [lock_path("base"), lock_path(f"torch-{torch}")]


def lock_path(name: str) -> Path:
    """Of a lock."""
    return environment.LOCKS / f"{name}.lock"


def lock(upgrade: bool) -> None:
    """Write the locks anew; without `upgrade`, packages keep their versions if they can."""
    names = ["base", *(f"torch-{build}" for build in BUILDS)]
    names = ["torch-cpu"] if upgrade else names  # not every index has the build for all Pythons
    before = {name: path.read_text() for name in names if (path := lock_path(name)).exists()}
    kept = before.get("base", "") + before.get("torch-cpu", "")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    base = blocks(resolve(f"torch=={BUILDS['cpu']}", kept, "pyproject.toml", *extras))
    write("torch-cpu", {"torch": base.pop("torch")})
    write("base", base)
    versions = pins("".join(base.values()))
    limits = "".join(f"{name}=={version}\n" for name, version in versions.items())
    for build in [build for build in BUILDS if build != "cpu"]:
        # The third = shuts out the CPU build, which installers else take for a (newer) one too.
        kept = before.get("base", "") + before.get(f"torch-{build}", "")
        cuda = blocks(resolve(f"torch==={BUILDS[build]}", kept, constraints=limits))
        cuda["torch"] = cuda["torch"].replace("==", "===", 1)
        own = {name: block for name, block in cuda.items() if name not in base}
        write(f"torch-{build}", own)


def resolve(torch: str, kept: str, *what: str, constraints: str = "") -> str:
    """Let uv find versions and hashes for this PyTorch together with `what`."""
    uv = environment.VENV / "bin" / "uv" if environment.PYTHON.exists() else shutil.which("uv")
    if not uv:
        sys.exit("set-up: there is no uv to make the locks with; `pip install uv`, then again")
    installed = environment.PYTHON.exists()
    configuration = pip_configuration(environment.PYTHON if installed else Path(sys.executable))
    with tempfile.TemporaryDirectory() as folder:
        result, limits = Path(folder, "all.lock"), Path(folder, "constraints.txt")
        override = Path(folder, "override.txt")
        override.write_text(OVERRIDE)
        result.write_text(kept)
        limits.write_text(constraints)
        command = [uv, "pip", "compile", "-", *what, "--constraints", limits, *COMPILE]
        command += ["--override", override]
        command += ["--output-file", result, *uv_options(configuration)]
        variables = uv_environment(configuration)
        done = subprocess.run(command, input=torch, text=True, cwd=environment.ROOT, env=variables)
        if done.returncode:
            sys.exit(
                "set-up: no new locks, uv's lines above say why. If it is PyTorch's CPU build "
                f"that is not found: PIP_FIND_LINKS={CPU_INDEX}/torch/ make lock"
            )
        return plain(result.read_text())


def plain(text: str) -> str:
    """A lock without the conditions that hold wherever it is used."""
    machine = "implementation_name|platform_machine|platform_python_implementation|sys_platform"
    text = re.sub(rf" and (?:{machine}) == '\w+'", "", text)
    after = (PYTHONS[-1][0], PYTHONS[-1][1] + 1)
    return text.replace(f" ; python_full_version < '{dotted(after)}'", "")


def check(text: str) -> None:
    """Stop with a sentence if a lock has several versions of a package."""
    if split := [name for name, block in blocks(text).items() if ";" in BEFORE.sub("", block)]:
        sys.exit(
            f"set-up: no new locks, as the package index has no version of {', '.join(split)} for "
            "all Pythons; PIP_CONFIG_FILE=/dev/null make lock asks PyPI alone"
        )


def write(name: str, locked: Mapping[str, str]) -> None:
    """Write one lock, atomically."""
    path = lock_path(name)
    part = path.with_suffix(".part")
    text = "".join(locked.values())
    check(text)
    part.write_text("# Made by `make lock`; not edited by hand.\n" + text)
    os.replace(part, path)
    say(f"{path.relative_to(environment.ROOT)}: {len(locked)} packages")
