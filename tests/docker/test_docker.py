"""Training in a container, with a real engine: `make test-docker`, as root.

It takes as long as the experiment, twice; another one by `make test-docker EXPERIMENT=popgym`.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amago2.files import read_json
from tests.workflow import project
from workflow.container.image import Image
from workflow.container.job import Job, end_orphans, run_command
from workflow.execute.progress import locked_files

pytestmark = pytest.mark.docker

KEPT = "amago2-test-kept"
"""Tag of an image whose layers are to be used again."""
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
    """A checkout in which the experiment was made in containers, by the documented command.

    An image of an earlier test is built again, from its layers, to name the present commit.
    """
    tag = Image("docker", "cpu", tuple(shlex.split(build_options))).tag
    if not subprocess.run(["docker", "tag", tag, KEPT], capture_output=True).returncode:
        subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
    folder = clone(source, tmp_path_factory.mktemp("docker") / "project")
    options = ("BUDGET=smoke", f"EXPERIMENT={EXPERIMENT}")
    done = make(folder, "reproduce", "RUNTIME=docker", *options, AMAGO2_BUILD_OPTIONS=build_options)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def records(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/smoke/runs/*/*/*/record.json"))


def built(folder: Path) -> list[Path]:
    """Records of the images that were built in a checkout."""
    return sorted((folder / "containers" / "built").glob("docker-cpu-*.json"))


def record_of_image(folder: Path) -> dict[str, Any]:
    (path,) = built(folder)
    return read_json(path)


def python(folder: Path, build_options: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the checkout's Python."""
    command = [str(folder / ".venv" / "bin" / "python"), *words]
    variables = clean({"AMAGO2_BUILD_OPTIONS": build_options})
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


def bits(run: Path) -> dict[str, bytes]:
    files = [path for pattern in BITS for path in sorted(run.glob(pattern))]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@contextmanager
def without_results(folder: Path) -> Iterator[None]:
    """The same checkout and environment, as if nothing had been made in it."""
    results, aside = folder / "results", folder / "results.aside"
    results.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(results)
        aside.rename(results)


def test_a_container_gives_the_bits_of_the_host(trained: Path) -> None:
    in_container = {path.parent.name: bits(path.parent) for path in records(trained)}
    lock = {read_json(path)["lock_sha256"] for path in records(trained)}
    with without_results(trained):
        done = make(trained, "reproduce", "BUDGET=smoke", f"EXPERIMENT={EXPERIMENT}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {path.parent.name: bits(path.parent) for path in records(trained)} == in_container
        assert {read_json(path)["lock_sha256"] for path in records(trained)} == lock
        assert {read_json(path)["container_digest"] for path in records(trained)} == {None}
    assert in_container
    assert all(len(files) > len(BITS) for files in in_container.values())


def test_a_record_names_the_image_that_it_was_made_in(trained: Path) -> None:
    image = record_of_image(trained)
    digests = {read_json(path)["container_digest"] for path in records(trained)}
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


def containers(name: str = "amago2-") -> list[str]:
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"name=^{name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.2)


def one_run(folder: Path, build_options: str) -> list[str]:
    """The command that trains one run of the experiment in a container."""
    code = (
        "from workflow.dag.plan import plan; from workflow.config.experiments import Selection;"
        f"dag = plan(Selection.parse(dict(experiment={EXPERIMENT!r}, runtime='docker')));"
        "dag.write(); run = dag.pending[0];"
        "print(run.settings, '--out', run.folder, '--scratch', run.scratch,"
        " '--image', dag.image.record)"
    )
    said = python(folder, build_options, "-c", code)
    assert said.returncode == 0, said.stderr
    return [
        str(folder / ".venv" / "bin" / "python"),
        "-m",
        "workflow",
        "job",
        "train",
        *shlex.split(said.stdout),
    ]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_the_job_stops_the_container(
    trained: Path, tmp_path: Path, build_options: str, signum: signal.Signals
) -> None:
    """At once; what kill -9 leaves, which tells nobody, is ended before the next start."""
    with without_results(trained):
        command = one_run(trained, build_options)
        job = subprocess.Popen(command, cwd=trained, stdout=subprocess.DEVNULL)
        wait_until(lambda: list(trained.glob("results/smoke/.scratch/*/progress.json")))
        before = containers()
        assert len(before) == 1
        (lock,) = (path.stat().st_ino for path in trained.glob("results/smoke/.scratch/*/lock"))
        assert lock in locked_files()  # by which `make status` knows that it is alive
        job.send_signal(signum)
        job.wait(30)
        if signum == signal.SIGKILL:
            assert containers() == before
            job = subprocess.Popen(command, cwd=trained, stdout=subprocess.DEVNULL)
            wait_until(lambda: containers() and containers() != before)
            job.send_signal(signal.SIGTERM)
            job.wait(30)
        wait_until(lambda: not containers(), 10)
        assert lock not in locked_files()


def test_an_image_that_was_removed_is_noticed(trained: Path, build_options: str) -> None:
    tag = record_of_image(trained)["tag"]
    subprocess.run(["docker", "tag", tag, KEPT], check=True)
    subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
    code = (
        "from workflow.container.image import Image, drop_stale_record\n"
        "image = Image.wanted('docker');"
        "print(image.record.is_file()); drop_stale_record(image); print(image.record.is_file())"
    )
    said = python(trained, build_options, "-c", code)
    assert said.stdout.split() == ["True", "False"], said.stderr
    # Built again, from the engine's layers: the same content.
    before = read_json(records(trained)[0])["container_digest"]
    done = python(trained, build_options, "-m", "workflow", "job", "image", "docker")
    assert f"content {before}" in done.stdout, done.stdout + done.stderr


def test_the_same_inputs_give_the_same_content(trained: Path, build_options: str) -> None:
    """Every layer anew. The engine's own identity of an image counts times, and differs."""
    first = record_of_image(trained)
    options = f"{build_options} --no-cache"
    try:
        done = python(trained, options, "-m", "workflow", "job", "image", "docker")
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = (path for path in built(trained) if read_json(path) != first)
        again = read_json(path)
        assert again["image"] != first["image"]  # or nothing was built
        assert again["content_sha256"] == first["content_sha256"]
    finally:
        for path in built(trained):
            if (tag := read_json(path)["tag"]) != first["tag"]:
                subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
                path.unlink()


def test_only_what_nobody_waits_for_is_ended(trained: Path) -> None:
    """Runs that share a GPU, or a machine, leave each other alone."""
    image, names = record_of_image(trained), ("killed", "at-work", "starting")
    locks = {name: trained / "results" / f"{name}.lock" for name in names}
    waiting = {}
    for name in names[:2]:
        job = Job(f"amago2-test-{name}", locks[name], ("-c", "import time; time.sleep(300)"))
        command = ["flock", str(locks[name]), *run_command(image, job)]
        waiting[name] = subprocess.Popen(command, start_new_session=True)
    try:
        wait_until(lambda: len(containers()) == 2)
        os.killpg(waiting["killed"].pid, signal.SIGKILL)
        waiting["killed"].wait(30)
        assert len(containers()) == 2
        end_orphans(image, locks["starting"])
        wait_until(lambda: not containers("amago2-test-killed"), 10)  # the engine removes it
        assert len(containers("amago2-test-at-work")) == 1
        assert waiting["at-work"].poll() is None
        end_orphans(image, locks["at-work"])  # which says that this process has the lock
        wait_until(lambda: not containers(), 10)
    finally:
        for each in containers():
            subprocess.run(["docker", "rm", "--force", each], check=True, capture_output=True)


def test_shared_memory_suffices_for_ranks_on_gpus(trained: Path) -> None:
    code = "import os; found = os.statvfs('/dev/shm'); print(found.f_frsize * found.f_blocks)"
    job = Job("amago2-test-memory", trained / "memory.lock", ("-c", code))
    command = run_command(record_of_image(trained), job)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(said) == 8 * 2**30


ORPHAN = """
import os, pathlib, time
if not os.fork():
    if os.fork():
        os._exit(0)  # the other has no parent any more
    os._exit(0)
os.wait()
time.sleep(1)
stats = [path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/stat")]
states = [stat.rpartition(")")[2].split()[0] for stat in stats]
print(len(states), states.count("Z"))
"""


def test_no_zombie_is_left(trained: Path) -> None:
    job = Job("amago2-test-zombies", trained / "zombies.lock", ("-c", ORPHAN))
    command = run_command(record_of_image(trained), job)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.split() == ["2", "0"]  # the first process and Python
    without = [word for word in command if word != "--init"]
    said = subprocess.run(without, check=True, capture_output=True, text=True).stdout
    assert said.split()[1] != "0"  # nobody ends them there, so the test can fail
