"""The image of the locked environment, and the commands that build it and run a job in it.

    python -m workflow.container.image RUNTIME      build it if need be, and record what it is

A runtime is `docker`, `podman` or `apptainer`; `host` needs no image. The image holds packages and
no code: the project's folder is mounted at its own path, so that a job in it reads and writes the
same files as one on the host, as the same user. See docs/running.md.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

from amago2.errors import ConfigError
from amago2.files import read_json, write_atomically
from workflow.config.experiments import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path("containers") / "built"
"""Records of built images, and Apptainer's files; git ignores it."""
OPTIONS = "AMAGO2_BUILD_OPTIONS"
"""Variable with more options for the engine's `build`, for another base or source of packages."""
PYTHON = "/opt/venv/bin/python"
PATIENCE_S = 20
"""For a leftover container to end by itself."""
ENGINES_OWN = frozenset(
    {".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/mtab", "etc/resolv.conf"}
)
"""What an engine adds to a container: no content of the image."""


@dataclass(frozen=True)
class Image:
    """An image, named by all that decides it."""

    runtime: str
    torch: str
    """`cpu` or `cuda`: the build of PyTorch."""
    options: tuple[str, ...] = ()

    @classmethod
    def wanted(cls, runtime: str) -> "Image":
        """With the PyTorch of this Python, so that both compute alike."""
        torch = "cpu" if version("torch").endswith("+cpu") else "cuda"
        return cls(runtime, torch, tuple(shlex.split(os.environ.get(OPTIONS, ""))))

    @property
    def locks(self) -> list[Path]:
        """The locks that it installs."""
        return [ROOT / "containers" / name for name in ("base.lock", f"torch-{self.torch}.lock")]

    @property
    def lock_sha256(self) -> str:
        """SHA-256 of the locks, as in a run's record."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self.locks)).hexdigest()

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of all that decides its content."""
        containerfile = (ROOT / "containers" / "Containerfile").read_text()
        text = json.dumps([containerfile, self.lock_sha256, self.options], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """Its name in the engine."""
        return f"amago2:{self.torch}-{self.digest}"

    @property
    def record(self) -> Path:
        """What it is, once it is built: the trainer reads how to start it here."""
        return BUILT / f"{self.runtime}-{self.torch}-{self.digest}.json"

    @property
    def sif(self) -> Path:
        """Apptainer's file."""
        return BUILT / f"amago2-{self.torch}-{self.digest}.sif"


# --- building ------------------------------------------------------------------------------------


def require(runtime: str) -> None:
    """Refuse a runtime that is not on this machine. Raises `ConfigError`."""
    if runtime != "host" and not shutil.which(runtime):
        raise ConfigError(
            f"runtime={runtime}: there is no {runtime} here; install it, or take runtime=host"
        )


def builder(runtime: str) -> str:
    """The engine that builds for a runtime: Apptainer takes what another one built."""
    if runtime != "apptainer":
        return runtime
    for engine in ("podman", "docker"):
        if shutil.which(engine):
            return engine
    raise ConfigError(
        "runtime=apptainer: podman or docker must build the image, and neither is here; build it "
        f"where one is, and copy {BUILT}/ here"
    )


def build_command(engine: str, image: Image, commit: str) -> list[str]:
    """Build the image from the folder `containers`."""
    arguments = {"TORCH": image.torch, "COMMIT": commit, "LOCK_SHA256": image.lock_sha256}
    # Equal layers in equal builds, where the engine can.
    same = ["--timestamp", "315532800"] if engine == "podman" else []
    given = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    return [
        *(engine, "build", *same, *given, *image.options),
        *("--tag", image.tag, "--file", "containers/Containerfile", "containers"),
    ]


def build(image: Image) -> dict[str, Any]:
    """Build the image unless it is there, and record it; returns the record."""
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
    """Docker's older builder where the newer one is not installed: it would refuse to build."""
    if engine == "docker":
        asked = subprocess.run(["docker", "buildx", "version"], capture_output=True)
        if asked.returncode:
            return {**os.environ, "DOCKER_BUILDKIT": "0"}
    return dict(os.environ)


def convert_commands(engine: str, image: Image, archive: Path) -> list[list[str]]:
    """Write Apptainer's file from the engine's image."""
    form = ["--format", "docker-archive"] if engine == "podman" else []
    part = image.sif.with_suffix(".part")
    return [
        [engine, "save", *form, "--output", str(archive), image.tag],
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
        raise ConfigError(f"`{shlex.join(command[:2])}` failed; its lines above say why")


def inspect(engine: str, tag: str) -> str | None:
    """Identity of an image in the engine; None if it is not there. Raises `ConfigError`."""
    command = [engine, "image", "inspect", "--format", "{{.Id}}", tag]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout.strip()
    if "no such image" in done.stderr.lower() or "not known" in done.stderr.lower():
        return None
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise ConfigError(f"{engine} does not answer: {last}")


def forget_if_gone(image: Image) -> None:
    """Remove the record of an image that was removed, so that it is built again."""
    if image.runtime == "apptainer":
        there = image.sif.is_file()
    elif image.record.is_file():
        there = inspect(image.runtime, image.tag) == read_json(image.record).get("image")
    else:
        return
    if not there:
        image.record.unlink(missing_ok=True)


# --- what is in it -------------------------------------------------------------------------------


def content_digest(engine: str, tag: str) -> str:
    """SHA-256 of an image's files, whatever the time and the engine of its building."""
    done = subprocess.run([engine, "create", tag], capture_output=True, text=True, check=True)
    container = done.stdout.strip()
    try:
        with subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout
            digest = tar_digest(export.stdout)
        if export.returncode:
            raise ConfigError(f"`{engine} export` failed; is the disk full?")
        return digest
    finally:
        subprocess.run([engine, "rm", container], capture_output=True, check=True)


def tar_digest(stream: IO[bytes]) -> str:
    """SHA-256 over path, type, mode, owner, link and content of each file, in order of paths.

    A hard link counts as the file that it is, whichever of its names the engine lists first.
    """
    lines: list[str] = []
    contents: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").strip("/")
            if name in ENGINES_OWN or name.partition("/")[0] in ("dev", "proc", "sys"):
                continue
            kind, link = member.type.decode("ascii", "replace"), member.linkname
            if member.islnk():
                kind, link, contents[name] = "0", "", contents[link.removeprefix("./").strip("/")]
            elif file := archive.extractfile(member) if member.isreg() else None:
                contents[name] = hashlib.file_digest(
                    cast("BufferedReader", file), "sha256"
                ).hexdigest()
            owner = f"{member.mode:o} {member.uid}:{member.gid}"
            lines.append(f"{name}\t{kind}\t{owner}\t{link}\t{contents.get(name, '')}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


# --- running -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What is to run in a container."""

    name: str
    """Of the container; the same for the same run, so that a leftover is found."""
    arguments: tuple[str, ...]
    """Of Python."""
    gpus: tuple[str, ...] = ()
    """Identities of the devices it gets."""
    folders: tuple[Path, ...] = ()
    """Existing folders outside the project that it reads or writes."""
    variables: tuple[str, ...] = ("AMAGO2_REPRODUCE", "OMP_NUM_THREADS")
    """Variables that it inherits if they are set."""


def run_command(built: Mapping[str, Any], job: Job) -> list[str]:
    """The command that runs a job in the image of a record."""
    if built["runtime"] == "apptainer":
        return _apptainer(built, job)
    return _engine(built, job)


def _engine(built: Mapping[str, Any], job: Job) -> list[str]:
    """Docker or Podman: no network, the caller's user, and a first process that reaps others."""
    engine = str(built["runtime"])
    command = [engine, "run", "--rm", "--init", "--name", job.name, "--network", "none"]
    command += ["--user", f"{os.getuid()}:{os.getgid()}", "--workdir", str(ROOT)]
    if engine == "podman":
        command += ["--security-opt", "label=disable"]
        # Without root, the caller is the same user inside; root's Podman refuses the option.
        command += ["--userns", "keep-id"] if os.getuid() else []
    for folder in _mounted(job):
        command += ["--volume", f"{folder}:{folder}"]
    for name in job.variables:
        command += ["--env", name] if name in os.environ else []
    for gpu in job.gpus:
        command += ["--label", f"{GPU_LABEL}.{gpu}"]
        command += ["--device", f"nvidia.com/gpu={gpu}"] if engine == "podman" else []
    if not job.gpus:
        command += ["--env", "NVIDIA_VISIBLE_DEVICES=void"]
    elif engine == "docker":  # which reads a line of CSV
        command += ["--gpus", f'"device={",".join(job.gpus)}"']
    return [*command, str(built["image"]), PYTHON, *job.arguments]


def _apptainer(built: Mapping[str, Any], job: Job) -> list[str]:
    """Apptainer needs no daemon: the job is a child like any other, of the caller's user."""
    command = ["apptainer", "exec", "--cleanenv", "--contain", "--no-home"]
    command += ["--pwd", str(ROOT)]
    for folder in _mounted(job):
        command += ["--bind", f"{folder}:{folder}"]
    given = {name: os.environ[name] for name in job.variables if name in os.environ}
    if job.gpus:
        command += ["--nv"]
        given["CUDA_VISIBLE_DEVICES"] = ",".join(job.gpus)
    for name, value in given.items():
        command += ["--env", f"{name}={value}"]
    return [*command, str(ROOT / built["sif"]), PYTHON, *job.arguments]


GPU_LABEL = "amago2.gpu"


def _mounted(job: Job) -> list[Path]:
    """The project, and the job's folders that do not lie in it."""
    outside = {folder.resolve() for folder in job.folders}
    return [ROOT, *sorted(folder for folder in outside if not folder.is_relative_to(ROOT))]


def leftovers(built: Mapping[str, Any], job: Job) -> list[list[str]]:
    """Commands that list what must be gone before a job starts.

    Containers of its own run, and of the devices that it has just locked: kill -9 reaches an
    engine's client, and never the container. Apptainer's jobs are plain children.
    """
    if built["runtime"] == "apptainer":
        return []
    filters = [f"name=^{job.name}$", *(f"label={GPU_LABEL}.{gpu}" for gpu in job.gpus)]
    return [[str(built["runtime"]), "ps", "--all", "--quiet", "--filter", each] for each in filters]


def end_leftovers(built: Mapping[str, Any], job: Job) -> None:
    """End containers that outlived whoever started them."""
    for command in leftovers(built, job):
        done = subprocess.run(command, capture_output=True, text=True)
        for found in done.stdout.split():
            print(f"ending a container that an interrupted job left behind ({found})", flush=True)
            stop = [command[0], "stop", "--time", str(PATIENCE_S), found]
            subprocess.run(stop, capture_output=True)
            subprocess.run([command[0], "rm", "--force", found], capture_output=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.container.image", description=__doc__)
    parser.add_argument("runtime", choices=RUNTIMES[1:])
    given = parser.parse_args(arguments)
    try:
        require(given.runtime)
        built = build(Image.wanted(given.runtime))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{built['tag']}: image {built['image']}, content {built['content_sha256']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
