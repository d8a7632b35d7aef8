"""A Docker engine, a base image and a source of packages, for machines that reach no registry.

Needs root. What is missing is installed from Debian; an engine that already runs is used as it is.
A user who reaches a registry and PyPI needs none of this: `make reproduce RUNTIME=docker`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "test-docker"
"""Downloads and the base's files, for the next time; `make clean` removes them."""
BASE = "amago2-test-base"
PORT = 8791
"""Always the same: it is an argument of the build, whose layers are used again only if equal."""


def answers() -> bool:
    """Does an engine answer?"""
    return (
        shutil.which("docker") is not None
        and not subprocess.run(["docker", "version"], capture_output=True).returncode
    )


def apt_install(*packages: str) -> None:
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An engine that answers; ended again if it was not there."""
    if answers():
        yield
        return
    if not (shutil.which("dockerd") and shutil.which("docker")):
        apt_install("docker.io")
    log = tmp_path_factory.mktemp("engine") / "dockerd.log"
    command = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with log.open("wb") as file:
        daemon = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        for _ in range(60):
            if answers():
                break
            assert daemon.poll() is None, log.read_text()
            time.sleep(1)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


@pytest.fixture(scope="session")
def base(engine: None) -> str:
    """Debian from its archive, as an image; what the Containerfile's default is to everybody."""
    found = subprocess.run(["docker", "image", "inspect", BASE], capture_output=True)
    if found.returncode:
        if not shutil.which("debootstrap"):
            apt_install("debootstrap")
        root = KEPT / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", BASE], check=True, stdin=tar.stdout)
        shutil.rmtree(root)
    return BASE


@pytest.fixture(scope="session")
def packages() -> Iterator[str]:
    """All locked packages, served on this machine alone; the address."""
    folder = KEPT / "wheels"
    locks = [ROOT / "containers" / f"{name}.lock" for name in ("base", "torch-cpu")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    complete = folder / f".{digest[:12]}"
    if not complete.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--no-build-isolation", "--dest", str(folder)]
        command += [word for lock in locks for word in ("--requirement", str(lock))]
        subprocess.run(command, check=True)
        complete.touch()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", PORT), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{PORT}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def build_options(base: str, packages: str) -> str:
    """For AMAGO2_BUILD_OPTIONS."""
    given = (f"BASE={base}", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={packages}")
    return " ".join(["--network host", *(f"--build-arg {each}" for each in given)])
