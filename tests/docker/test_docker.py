"""Training in a container, with a real engine: `make test-docker`, as root.

It takes as long as the experiment, twice; another one by `make test-docker EXPERIMENT=popgym`.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workflow import project
from workflow.receipts import read

pytestmark = pytest.mark.docker

EXPERIMENT = os.environ.get("AMAGO2_TEST_EXPERIMENT") or "ext_return_scale"
BITS = ("metrics.csv", "evaluations.csv", "config.yaml", "checkpoint/*", "replay/*")


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words], cwd=folder, env=clean(variables), capture_output=True, text=True
    )


def clean(variables: dict[str, str]) -> dict[str, str]:
    """As from a fresh shell, whatever make runs these tests."""
    ours = ("MAKE", "MFLAGS", "BUDGET", "BENCHMARK", "SEEDS", "EXPERIMENT", "RUNTIME", "PROFILE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | variables


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is here, committed."""
    folder = tmp_path_factory.mktemp("source") / "project"
    project.copy_all(folder)
    return folder


def clone(source: Path, folder: Path) -> Path:
    project.git(source, "clone", "-q", str(source), str(folder))
    return folder


@pytest.fixture(scope="session")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory, build_options: str) -> Path:
    """A checkout in which the experiment was made in containers, by the documented command."""
    folder = clone(source, tmp_path_factory.mktemp("docker") / "project")
    options = ("BUDGET=smoke", f"EXPERIMENT={EXPERIMENT}")
    done = make(folder, "reproduce", "RUNTIME=docker", *options, AMAGO2_BUILD_OPTIONS=build_options)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def records(folder: Path) -> dict[str, Path]:
    paths = folder.glob("results/smoke/runs/*/*/*/record.json")
    return {str(path.parent.relative_to(folder)): path for path in paths}


def bits(run: Path) -> dict[str, bytes]:
    files = [path for pattern in BITS for path in sorted(run.glob(pattern))]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_a_container_gives_the_bits_of_the_host(
    trained: Path, source: Path, tmp_path: Path
) -> None:
    host = clone(source, tmp_path / "host")
    done = make(host, "reproduce", "BUDGET=smoke", f"EXPERIMENT={EXPERIMENT}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(host)
    assert records(host).keys() == records(trained).keys()
    for name, path in records(host).items():
        assert bits(host / name) == bits(trained / name), name
        ours, theirs = (
            json.loads(path.read_text()),
            json.loads((trained / name / path.name).read_text()),
        )
        assert ours["lock_sha256"] == theirs["lock_sha256"]
        assert ours["container_digest"] is None


def test_a_record_names_the_image_that_it_was_made_in(trained: Path) -> None:
    (built,) = (trained / "containers" / "built").glob("docker-cpu-*.json")
    image = read(built)
    digests = {
        json.loads(path.read_text())["container_digest"] for path in records(trained).values()
    }
    assert digests == {image["content_sha256"]}
    show = ["docker", "image", "inspect", "--format", "{{json .Config}}", image["tag"]]
    config = json.loads(subprocess.run(show, check=True, capture_output=True).stdout)
    commit = project.git(trained, "rev-parse", "HEAD").strip()
    assert config["Labels"]["org.opencontainers.image.revision"] == commit
    assert config["Labels"]["amago2.lock.sha256"] == image["lock_sha256"]
    assert config["User"] == "1000:1000"


def test_files_belong_to_the_caller(trained: Path) -> None:
    owners = {path.stat().st_uid for path in (trained / "results").rglob("*")}
    assert owners == {os.getuid()}


def containers() -> list[str]:
    command = ["docker", "ps", "--all", "--quiet", "--filter", "name=^amago2-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.2)


def one_run(folder: Path, build_options: str) -> list[str]:
    """The command that trains one run of the experiment in a container."""
    variables = {"AMAGO2_BUILD_OPTIONS": build_options}
    code = (
        "from workflow.dag import plan; from workflow.experiments import Selection;"
        f"dag = plan(Selection.parse(dict(experiment={EXPERIMENT!r}, runtime='docker')));"
        "dag.write(); run = dag.pending[0];"
        "print(run.settings, '--out', run.folder, '--scratch', run.scratch,"
        " '--image', dag.image.record)"
    )
    python = str(folder / ".venv" / "bin" / "python")
    said = subprocess.run(
        [python, "-c", code], cwd=folder, env=clean(variables), capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    return [python, "-m", "workflow.train", *shlex.split(said.stdout)]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_the_job_stops_the_container(
    trained: Path, tmp_path: Path, build_options: str, signum: signal.Signals
) -> None:
    """At once; what kill -9 leaves, which tells nobody, is ended before the next start."""
    results, aside = trained / "results", trained / "results.aside"
    results.rename(aside)
    try:
        command = one_run(trained, build_options)
        job = subprocess.Popen(command, cwd=trained, stdout=subprocess.DEVNULL)
        wait_until(lambda: list(results.glob("smoke/.scratch/*/progress.json")))
        before = containers()
        assert len(before) == 1
        job.send_signal(signum)
        job.wait(30)
        if signum == signal.SIGKILL:
            assert containers() == before
            job = subprocess.Popen(command, cwd=trained, stdout=subprocess.DEVNULL)
            wait_until(lambda: containers() and containers() != before)
            job.send_signal(signal.SIGTERM)
            job.wait(30)
        wait_until(lambda: not containers(), 10)
    finally:
        subprocess.run(["rm", "-rf", str(results)], check=True)
        aside.rename(results)


def test_an_image_that_was_removed_is_noticed(trained: Path, build_options: str) -> None:
    (built,) = (trained / "containers" / "built").glob("docker-cpu-*.json")
    tag = json.loads(built.read_text())["tag"]
    subprocess.run(["docker", "tag", tag, "amago2-test-kept"], check=True)
    subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
    code = (
        "from workflow.container import Image, forget_if_gone; image = Image.wanted('docker');"
        "print(image.record.is_file()); forget_if_gone(image); print(image.record.is_file())"
    )
    command = [str(trained / ".venv" / "bin" / "python"), "-c", code]
    variables = clean({"AMAGO2_BUILD_OPTIONS": build_options})
    said = subprocess.run(command, cwd=trained, env=variables, capture_output=True, text=True)
    assert said.stdout.split() == ["True", "False"], said.stderr
    # Built again, from the engine's layers: the same content.
    before = json.loads(records(trained).popitem()[1].read_text())["container_digest"]
    build = [*command[:1], "-m", "workflow.container", "docker"]
    done = subprocess.run(build, cwd=trained, env=variables, capture_output=True, text=True)
    assert f"content {before}" in done.stdout, done.stdout + done.stderr
    subprocess.run(["docker", "rmi", "amago2-test-kept"], check=True, capture_output=True)
