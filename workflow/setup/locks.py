"""The hash locks in `containers/`: how they are read, and how `make lock` makes them anew.

There is one of everything but PyTorch, and one for each build of PyTorch. No single file can
hold two builds, since installers would then take a CUDA one everywhere. That of tools which have
an environment of their own is in `tools.py`.
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
from workflow.setup.environment import BUILDS, CPU_INDEX, say
from workflow.setup.sources import pip_configuration, uv_environment, uv_options


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


def lock_files(torch: str) -> list[Path]:
    """The two locks that together are the environment."""
    return [lock_path("base"), lock_path(f"torch-{torch}")]


def lock_path(name: str) -> Path:
    """Of a lock."""
    return environment.LOCKS / f"{name}.lock"


def lock(upgrade: bool) -> None:
    """Write the locks anew; without `upgrade`, packages keep their versions if they can."""
    names = [] if upgrade else ["base", *(f"torch-{build}" for build in BUILDS)]
    before = {name: path.read_text() for name in names if (path := lock_path(name)).exists()}
    kept = before.get("base", "") + before.get("torch-cpu", "")
    base = blocks(resolve(f"torch=={BUILDS['cpu']}", kept, "pyproject.toml", "--all-extras"))
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
        result.write_text(kept)
        limits.write_text(constraints)
        command = [uv, "pip", "compile", "-", *what, "--constraints", limits]
        command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
        command += ["--output-file", result, *uv_options(configuration)]
        variables = uv_environment(configuration)
        done = subprocess.run(command, input=torch, text=True, cwd=environment.ROOT, env=variables)
        if done.returncode:
            sys.exit(
                "set-up: no new locks, uv's lines above say why. If it is PyTorch's CPU build "
                f"that is not found: PIP_FIND_LINKS={CPU_INDEX}/torch/ make lock"
            )
        return result.read_text()


def write(name: str, locked: Mapping[str, str]) -> None:
    """Write one lock, atomically."""
    path = lock_path(name)
    part = path.with_suffix(".part")
    part.write_text("# Made by `make lock`; not edited by hand.\n" + "".join(locked.values()))
    os.replace(part, path)
    say(f"{path.relative_to(environment.ROOT)}: {len(locked)} packages")
