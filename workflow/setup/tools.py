"""Tools that not everyone needs, in an environment of their own: Sphinx and what checks packages.

`make docs` and `make test-package` put it up. Its lock is made from the dependency group `tools` of
`pyproject.toml`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from workflow.setup import environment
from workflow.setup.environment import say
from workflow.setup.locks import COMPILE, check, plain
from workflow.setup.sources import pip_configuration, uv_environment, uv_options

LOCK_NAME = "tools.lock"
VENV_NAME = ".venv-tools"


def install_tools() -> Path:
    """Bring `.venv-tools` to what its lock says; returns its Python. `.venv` must be there."""
    folder, locked = environment.ROOT / VENV_NAME, environment.LOCKS / LOCK_NAME
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(os.fsencode(folder) + locked.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    if folder.exists() and not (folder / "CACHEDIR.TAG").is_file():
        sys.exit(f"set-up: {folder} is in the way and was not made by set-up; move it, then again")
    say(f"a new {VENV_NAME} with what {LOCK_NAME} lists")
    uv = environment.VENV / "bin" / "uv"
    configuration = pip_configuration(environment.PYTHON)
    variables = uv_environment(configuration)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, "--no-deps"]
    make: list[str | Path] = [uv, "venv", "--quiet", "--clear", "--python", environment.PYTHON]
    install += ["--require-hashes", *uv_options(configuration), "--requirement", locked]
    for command in ([*make, folder], install):
        if subprocess.run(command, env=variables).returncode:
            sys.exit(
                f"set-up: no {VENV_NAME}; uv's lines above say why. Put that right, then again"
            )
    stamp.write_text(wanted)
    return python


def lock_tools(upgrade: bool) -> None:
    """Write the lock anew; without `upgrade`, packages keep their versions if they can."""
    path = environment.LOCKS / LOCK_NAME
    configuration = pip_configuration(environment.PYTHON)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, LOCK_NAME)
        result.write_text("" if upgrade or not path.exists() else path.read_text())
        command: list[str | Path] = [environment.VENV / "bin" / "uv", "pip", "compile"]
        command += ["--group", "pyproject.toml:tools", *COMPILE]
        command += ["--output-file", result, *uv_options(configuration)]
        variables = uv_environment(configuration)
        if subprocess.run(command, cwd=environment.ROOT, env=variables).returncode:
            sys.exit("set-up: no new lock of the tools; uv's lines above say why")
        text = plain(result.read_text())
        check(text)
        path.write_text("# Made by `make lock`; not edited by hand.\n" + text)
    say(f"{path.relative_to(environment.ROOT)}")
