"""Where packages come from: pip's configuration, passed on to uv, which does not read it."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PIP_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
PIP_VARIABLES = {"cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}


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
