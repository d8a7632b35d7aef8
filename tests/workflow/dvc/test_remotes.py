"""DVC's lock, its kinds of links, and a remote that speaks S3, as users have them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from amago2.training.amago_trainer import train
from tests.amago2.toy import small
from tests.workflow import project
from workflow.cli.app import main
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.runs import ARTIFACTS, Run
from workflow.dvc import add as version

RESULTS = Path("results/micro")
DVC = version.dvc
KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which all eight runs have just finished."""
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    for run in runs():
        project.finish(run, artifacts=ARTIFACTS)
    return folder


def runs() -> list[Run]:
    return list(project.the_plan().runs.values())


def fingerprint_file() -> Path:
    dag = project.the_plan()
    dag.write()
    (target,) = dag.of("version")
    return target.fingerprint_file


def test_eight_runs_are_versioned_while_another_command_hashes(repository: Path) -> None:
    """1.5 GB take seconds to hash; without waiting for the lock, DVC gives up after three."""
    with Path("big").open("wb") as file:
        file.truncate(1_500_000_000)
    hashing = subprocess.Popen(
        [sys.executable, "-m", "dvc", "add", "big"],
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lock = Path(".dvc/tmp/lock")
    end = time.monotonic() + 60
    while not lock.exists() or not lock.stat().st_size:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert hashing.poll() is None
    versions = version.version(RESULTS, Fingerprint.load(fingerprint_file()).inputs)
    assert hashing.wait(60) == 0
    assert Path("big.dvc").is_file()
    assert len(versions) == 8
    assert all(named["checkpoint"] and named["replay"] for named in versions.values())


def test_a_longer_replay_sends_its_new_shards_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real runs of a toy, the second going on from the first."""
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    roomy = {"replay": {"capacity": 10**6, "shard_size": 40}}

    def publish(run: Path) -> tuple[dict[str, bytes], dict[Path, int]]:
        """Files of its replay, by name; objects of the remote after pushing, with their times."""
        version.version(RESULTS, [f"{run}/replay.dvc"])
        objects = (path for path in Path(".dvc-storage").rglob("*") if path.is_file())
        files = {path.name: path.read_bytes() for path in (run / "replay").iterdir()}
        return files, {path: path.stat().st_mtime_ns for path in objects}

    first = RESULTS / "runs" / "toy" / "variant" / "seed0-first"
    train(small(**roomy), first)
    old, before = publish(first)
    second = first.with_name("seed0-longer")
    train(small(**roomy, collector={"epochs": 9}), second, continue_from=first)
    new, after = publish(second)

    assert len(before) == len(set(old.values())) + 1  # and one that lists them
    changed = set(new.values()) - set(old.values())
    assert 1 < len(changed) < len(new) / 2
    assert len(after) == len(before) + len(changed) + 1
    assert {path: after[path] for path in before} == before
    sent = {path.read_bytes() for path in after.keys() - before.keys() if path.suffix != ".dir"}
    assert sent == changed


def retrain(folder: Path, links: str, *before: str) -> None:
    done = subprocess.run(
        [*before, sys.executable, Path(__file__).with_name("retrain.py"), links],
        cwd=folder,
        env={**project.environment(), "PYTHONPATH": str(project.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("links", ["copy", "reflink,copy", "hardlink", "symlink"])
def test_a_retrain_never_writes_into_the_cache(repository: Path, links: str) -> None:
    retrain(repository, links)


@pytest.mark.skipif(os.geteuid() != 0, reason="the test above is not root's then")
@pytest.mark.parametrize("links", ["hardlink", "symlink"])
def test_nor_does_one_without_roots_rights(repository: Path, links: str) -> None:
    """No capabilities: files that are read-only, as DVC's cache is, are so for us too."""
    retrain(repository, links, "setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server that speaks S3 and checks no keys, unless told to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(30)


def tell(server: str, path: str, body: str = "") -> None:
    """Tell the server, rather than its S3, to do something."""
    words = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{server}/moto-api/{path}", body.encode(), words)
    urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture
def remote(repository: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the server, empty: the default remote, with keys in the environment."""
    for name, value in {**KEYS, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    project.dvc("remote", "add", "-d", "shared", "s3://results/amago2")
    project.dvc("remote", "modify", "shared", "endpointurl", s3)
    tell(s3, "reset")
    return s3


def test_s3(
    remote: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["job", "version", str(RESULTS), str(fingerprint_file())]

    assert main(command) == 1  # there is no bucket yet
    said = capsys.readouterr().err
    assert "bucket does not exist" in said
    assert "create the bucket, or correct the address" in said
    assert said.count("\n") == 1

    import boto3

    boto3.client("s3", endpoint_url=remote).create_bucket(Bucket="results")
    assert main(command) == 0  # the next try succeeds
    run = runs()[0]
    folder = run.folder / "checkpoint"
    content = (folder / "data").read_bytes()
    shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    with monkeypatch.context() as patch:
        for name in KEYS:
            patch.delenv(name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
        patch.setenv("AWS_CONFIG_FILE", "nowhere")
        assert main(["pull", str(run.folder)]) == 1
    said = capsys.readouterr().err
    assert "Unable to locate credentials" in said
    assert "set the remote's credentials" in said
    assert not folder.exists()
    assert main(["pull", str(run.folder)]) == 0
    assert (folder / "data").read_bytes() == content

    shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    project.dvc("remote", "modify", "shared", "endpointurl", "http://127.0.0.1:9")
    project.dvc("remote", "modify", "shared", "connect_timeout", "1")
    assert main(["pull", str(run.folder)]) == 1
    assert "the remote cannot be reached" in capsys.readouterr().err
    assert not folder.exists()


@pytest.fixture
def checked(remote: str) -> Iterator[dict[str, str]]:
    """Keys of the one who may use the bucket of a server that checks keys."""
    import boto3

    iam = boto3.client("iam", endpoint_url=remote)
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_user(UserName="someone")
    iam.put_user_policy(UserName="someone", PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName="someone")["AccessKey"]
    boto3.client("s3", endpoint_url=remote).create_bucket(Bucket="results")
    tell(remote, "reset-auth", "0")  # from now on, who asks must sign with a known key
    yield dict(zip(KEYS, (made["AccessKeyId"], made["SecretAccessKey"]), strict=True))
    tell(remote, "reset-auth", "inf")


def test_wrong_keys(
    checked: dict[str, str],
    remote: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An unknown key while sending, then a known key with a wrong secret while fetching."""
    import boto3

    def refused(code: int) -> None:
        assert code == 1
        said = capsys.readouterr().err
        assert said.count("the remote refuses these credentials") == 1
        assert said.count("\n") == 1

    def enter(keys: dict[str, str]) -> None:
        for name, value in keys.items():
            monkeypatch.setenv(name, value)

    command = ["job", "version", str(RESULTS), str(fingerprint_file())]
    refused(main(command))
    assert not (RESULTS / "versioned.json").exists()
    enter(checked)
    client = boto3.Session().client("s3", endpoint_url=remote)
    assert client.list_objects_v2(Bucket="results")["KeyCount"] == 0
    assert main(command) == 0
    capsys.readouterr()

    folder = runs()[0].folder / "checkpoint"
    content = (folder / "data").read_bytes()
    shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    enter({"AWS_SECRET_ACCESS_KEY": "wrong"})
    refused(main(["pull", str(folder.parent)]))
    assert not folder.exists()
    assert not [path for path in Path(".dvc/cache").rglob("*") if path.is_file()]
    enter(checked)
    assert main(["pull", str(folder.parent)]) == 0
    assert (folder / "data").read_bytes() == content
