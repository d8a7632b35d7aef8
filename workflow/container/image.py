"""The container image of the locked environment: what decides its content, and how it is built.

A runtime is `docker`, `podman` or `apptainer`; `host` needs no image. The image holds packages and
no code: the project's folder is mounted at its own path, so a job in it reads and writes the
same files as one on the host, as the same user. See docs/running.md.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amago2.errors import ConfigError
from amago2.files import read_json, write_atomically
from workflow.container.content import content_digest
from workflow.setup.environment import build_of

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path("containers") / "built"
"""Records of built images, and Apptainer's files; git ignores it."""
OPTIONS = "AMAGO2_BUILD_OPTIONS"
"""Variable with more options for the engine's `build`, for another base or source of packages."""


@dataclass(frozen=True)
class Image:
    """An image, named by everything that decides its content."""

    runtime: str
    torch: str
    """The build of PyTorch: `cpu`, `cuda` or `cuda12`."""
    options: tuple[str, ...] = ()

    @classmethod
    def wanted(cls, runtime: str) -> "Image":
        """The image with the PyTorch build of this Python, so that both give the same results."""
        torch = build_of(version("torch"))
        return cls(runtime, torch, tuple(shlex.split(os.environ.get(OPTIONS, ""))))

    @property
    def locks(self) -> list[Path]:
        """The lock files that it installs."""
        return [ROOT / "containers" / name for name in ("base.lock", f"torch-{self.torch}.lock")]

    @property
    def lock_sha256(self) -> str:
        """SHA-256 of the locks, as in a run's record."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self.locks)).hexdigest()

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of everything that decides its content."""
        containerfile = (ROOT / "containers" / "Containerfile").read_text()
        text = json.dumps([containerfile, self.lock_sha256, self.options], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """Its name in the engine."""
        return f"amago2:{self.torch}-{self.digest}"

    @property
    def record(self) -> Path:
        """What was built, as JSON: jobs read here how to start a container of it."""
        return BUILT / f"{self.runtime}-{self.torch}-{self.digest}.json"

    @property
    def sif(self) -> Path:
        """Apptainer's image file."""
        return BUILT / f"amago2-{self.torch}-{self.digest}.sif"


def require(runtime: str) -> None:
    """Raise `ConfigError` for a runtime that is not installed on this machine."""
    if runtime != "host" and not shutil.which(runtime):
        raise ConfigError(
            f"runtime={runtime}: {runtime} is not installed here; install it, or use runtime=host"
        )


def builder(runtime: str) -> str:
    """The engine that builds for a runtime: Apptainer converts an image that another one built."""
    if runtime != "apptainer":
        return runtime
    for engine in ("podman", "docker"):
        if shutil.which(engine):
            return engine
    raise ConfigError(
        "runtime=apptainer: podman or docker must build the image, and neither is installed here; "
        f"build it on a machine that has one and copy {BUILT}/ here"
    )


def build_command(engine: str, image: Image, commit: str) -> list[str]:
    """Command that builds the image from the folder `containers`."""
    arguments = {"TORCH": image.torch, "COMMIT": commit, "LOCK_SHA256": image.lock_sha256}
    # With a fixed time, equal builds give equal layers; Docker has no such option.
    timestamp = ["--timestamp", "315532800"] if engine == "podman" else []
    given = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    return [
        *(engine, "build", *timestamp, *given, *image.options),
        *("--tag", image.tag, "--file", "containers/Containerfile", "containers"),
    ]


def build(image: Image) -> dict[str, Any]:
    """Build the image unless it exists, and record it; returns the record. Raises `ConfigError`."""
    known = read_json(image.record)
    if image.runtime == "apptainer" and image.sif.is_file() and known:
        return known
    engine = builder(image.runtime)
    identity = inspect(engine, image.tag)
    if identity is None:
        run(build_command(engine, image, _commit()), env=_build_environment(engine))
        identity = inspect(engine, image.tag)
    if known.get("image") != identity:
        known = {
            "runtime": image.runtime,
            "image": identity,
            "tag": image.tag,
            "sif": str(image.sif) if image.runtime == "apptainer" else None,
            "content_sha256": content_digest(engine, image.tag),
            "lock_sha256": image.lock_sha256,
        }
    if image.runtime == "apptainer":
        _convert(engine, image)
    write_atomically(image.record, json.dumps(known, indent=1) + "\n")
    return known


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def _build_environment(engine: str) -> dict[str, str]:
    """Select Docker's older builder where buildx is missing, which the newer one needs."""
    if engine == "docker":
        buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True)
        if buildx.returncode:
            return {**os.environ, "DOCKER_BUILDKIT": "0"}
    return dict(os.environ)


def convert_commands(engine: str, image: Image, archive: Path) -> list[list[str]]:
    """Commands that write Apptainer's file from the engine's image."""
    archive_format = ["--format", "docker-archive"] if engine == "podman" else []
    part = image.sif.with_suffix(".part")
    return [
        [engine, "save", *archive_format, "--output", str(archive), image.tag],
        ["apptainer", "build", "--force", str(part), f"docker-archive:{archive}"],
    ]


def _convert(engine: str, image: Image) -> None:
    image.sif.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        for command in convert_commands(engine, image, Path(folder) / "image.tar"):
            run(command)
    image.sif.with_suffix(".part").replace(image.sif)


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Run a command that must succeed. Raises `ConfigError`."""
    print(shlex.join(command), flush=True)
    if subprocess.run(command, env=env).returncode:
        raise ConfigError(f"`{shlex.join(command[:2])}` failed; see its output above")


def inspect(engine: str, tag: str) -> str | None:
    """The engine's identifier of an image; None if it has no such image. Raises `ConfigError`."""
    command = [engine, "image", "inspect", "--format", "{{.Id}}", tag]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout.strip()
    if "no such image" in done.stderr.lower() or "not known" in done.stderr.lower():
        return None
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise ConfigError(f"{engine} does not answer: {last}")


def drop_stale_record(image: Image) -> None:
    """Remove the record of an image that no longer exists, so that it is built again."""
    if image.runtime == "apptainer":
        exists = image.sif.is_file()
    elif image.record.is_file():
        exists = inspect(image.runtime, image.tag) == read_json(image.record).get("image")
    else:
        return
    if not exists:
        image.record.unlink(missing_ok=True)


def build_wanted(runtime: str) -> dict[str, Any]:
    """Build the image of this checkout unless it exists; returns its record.

    Raises `ConfigError`.
    """
    require(runtime)
    return build(Image.wanted(runtime))
