"""The exact commands that build images and run jobs in them, and the digest of what is in one."""

import fcntl
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from workflow.config.experiments import Selection
from workflow.container import content, job
from workflow.container import image as container
from workflow.container.image import ROOT, Image
from workflow.container.job import Job

IMAGE = Image("docker", "cpu")
USER = f"{os.getuid()}:{os.getgid()}"
LOCK = ROOT / "results" / "a.lock"
TRAIN = ("-m", "amago2.cli", "train", "a.yaml")


def built(runtime: str) -> dict[str, str]:
    return {"runtime": runtime, "image": "sha256:12", "sif": "containers/built/a.sif"}


def command(runtime: str, **options: object) -> str:
    return " ".join(job.run_command(built(runtime), Job("amago2-1-2", LOCK, TRAIN, **options)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Job("", LOCK, ()).variables, container.OPTIONS):
        monkeypatch.delenv(name, raising=False)


def test_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert command("docker", folders=(tmp_path, ROOT / "results")) == (
        f"docker run --rm --init --name amago2-1-2 --network none --user {USER} --workdir {ROOT} "
        f"--shm-size 8g --label amago2.run={LOCK} "
        f"--volume {ROOT}:{ROOT} --volume {tmp_path}:{tmp_path} --env OMP_NUM_THREADS "
        "--env NVIDIA_VISIBLE_DEVICES=void sha256:12 /opt/venv/bin/python "
        "-m amago2.cli train a.yaml"
    )
    assert '--gpus "device=GPU-7" sha256:12' in command("docker", gpus=("GPU-7",))
    assert '--gpus "device=GPU-7,MIG-9" sha256:12' in command("docker", gpus=("GPU-7", "MIG-9"))


def test_podman(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    root = command("podman", gpus=("GPU-7", "GPU-9"))
    assert root.startswith("podman run --rm --init --name amago2-1-2 --network none --user ")
    assert "--security-opt label=disable --volume " in root
    assert " --device nvidia.com/gpu=GPU-7 --device nvidia.com/gpu=GPU-9 " in root
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert "--security-opt label=disable --userns keep-id --volume " in command("podman")


def test_apptainer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("apptainer") == (
        f"apptainer exec --cleanenv --contain --no-home --pwd {ROOT} --bind {ROOT}:{ROOT} "
        f"{ROOT}/containers/built/a.sif /opt/venv/bin/python -m amago2.cli train a.yaml"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "--nv --env OMP_NUM_THREADS=1 --env CUDA_VISIBLE_DEVICES=GPU-7,GPU-9 " in command(
        "apptainer", gpus=("GPU-7", "GPU-9")
    )


def test_building() -> None:
    lock = hashlib.sha256(b"".join(path.read_bytes() for path in IMAGE.locks)).hexdigest()
    rest = (
        f"--build-arg TORCH=cpu --build-arg COMMIT=abc --build-arg LOCK_SHA256={lock} "
        f"--tag {IMAGE.tag} --file containers/Containerfile containers"
    )
    assert " ".join(container.build_command("docker", IMAGE, "abc")) == f"docker build {rest}"
    podman = " ".join(container.build_command("podman", Image("podman", "cpu"), "abc"))
    assert podman == f"podman build --timestamp 315532800 {rest}"
    image = Image("apptainer", "cpu")
    steps = container.convert_commands("podman", image, Path("image.tar"))
    assert [" ".join(step) for step in steps] == [
        f"podman save --format docker-archive --output image.tar {image.tag}",
        f"apptainer build --force {image.sif.with_suffix('.part')} docker-archive:image.tar",
    ]


def test_an_image_is_named_by_what_decides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Image("docker", "cpu").tag == Image("podman", "cpu").tag
    monkeypatch.setenv(container.OPTIONS, "--build-arg BASE=mine")
    others = [Image("docker", "cuda"), Image.wanted("docker")]
    assert others[1].options == ("--build-arg", "BASE=mine")
    assert len({image.digest for image in (IMAGE, *others)}) == 3


ENGINE = """\
#!/bin/sh
echo "$@" >> "$0.said"
case $1 in
ps) printf 'own\\nleft\\nbusy\\ngone\\n' ;;
inspect) echo "$(dirname "$0")/$4.lock" ;;
esac
"""
"""Stands in for docker, which runs four containers: each names the lock of its run."""


def test_a_job_ends_containers_that_nobody_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own run's, and others' whose lock is free; never one that is at work on the same GPU."""
    (tmp_path / "docker").write_text(ENGINE)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    files = {name: (tmp_path / f"{name}.lock").open("w") for name in ("own", "left", "busy")}
    for name in ("own", "busy"):
        fcntl.flock(files[name], fcntl.LOCK_EX)
    job.end_orphans(built("docker"), tmp_path / "own.lock")
    said = (tmp_path / "docker.said").read_text().splitlines()
    assert said[0] == "ps --all --quiet --filter label=amago2.run"
    assert [line for line in said if line.startswith("stop")] == [
        "stop --time 20 own", "stop --time 20 left"
    ]  # fmt: skip
    (tmp_path / "docker.said").unlink()
    job.end_orphans(built("apptainer"), tmp_path / "own.lock")
    assert not (tmp_path / "docker.said").exists()


def test_runtimes_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown runtime dokcer; did you mean docker"):
        Selection.parse({"runtime": "dokcer"})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="podman is not installed here; install it, or use"):
        container.require("podman")
    container.require("host")
    with pytest.raises(ConfigError, match="podman or docker must build the image"):
        container.builder("apptainer")


# --- the digest ----------------------------------------------------------------------------------


def archive(*members: tuple[str, bytes, str, str], time: int = 0, mode: int = 0o644) -> int:
    """Digest of a tar of (name, type, content, link)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, text, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime, member.mode = kind, link, time, mode
            member.size = len(text) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(text.encode()))
    stream.seek(0)
    return int(content.tar_digest(stream), 16)


A = ("etc/a", tarfile.REGTYPE, "text", "")
B = ("etc/b", tarfile.SYMTYPE, "", "a")


def test_the_digest_is_of_files_and_not_of_time_or_order() -> None:
    digest = archive(A, B)
    assert digest == archive(B, A, time=5)
    assert digest == archive(A, B, ("etc/hosts", tarfile.REGTYPE, "engine's", ""))
    assert digest == archive(A, B, ("etc/mtab", tarfile.SYMTYPE, "", "/proc/mounts"))  # Docker's
    assert digest != archive(A)
    assert digest != archive(A, B, mode=0o600)
    assert digest != archive((*A[:2], "Text", ""), B)
    assert digest != archive(A, (*B[:3], "c"))


def test_a_hard_link_is_a_file_whichever_name_comes_first() -> None:
    twin = ("etc/b", tarfile.REGTYPE, "text", "")
    links = [("etc/b", tarfile.LNKTYPE, "", "etc/a"), ("etc/a", tarfile.LNKTYPE, "", "etc/b")]
    assert len({archive(A, twin), archive(A, links[0]), archive(twin, links[1])}) == 1
