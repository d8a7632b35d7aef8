"""The DAG through a real Slurm of this one machine: `make test-slurm`, as root.

What is tested is `profiles/slurm`, with waiting times that suit a test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow import project

pytestmark = pytest.mark.slurm

CLUSTER = Path(__file__).with_name("cluster.sh")
FAKE_TRAINER = project.ROOT / "tests" / "workflow" / "execute" / "fake_cli.py"
ONE_RUN = "budgets: {micro: {seeds: 1, variants: [ind_actor_ind_critic]}}"
LONGER = {"epochs: 2": "epochs: 60", "updates_per_epoch: 2": "updates_per_epoch: 8"}
CHECKPOINTS = "all:\n  checkpoint: {every: 1000, keep: 1}\n"


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster for all tests, in a folder that munged, which is another user, may enter: pytest's
    own it may not, as soon as another pytest begins."""
    folder = Path(tempfile.mkdtemp(prefix="amago2-slurm-"))
    folder.chmod(0o755)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([CLUSTER, "start", folder], check=True)
        yield
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def checkout(folder: Path, fake: bool = False, **settings: Any) -> Path:
    """A project with one micro run and the Slurm profile."""
    project.copy_project(folder)
    experiments = folder / "params" / "experiments"
    (experiments / "ext_return_scale.yaml").unlink()
    for kind in ("figures", "tables"):
        shutil.rmtree(folder / "params" / kind)
    text = (experiments / "popgym.yaml").read_text()
    (experiments / "popgym.yaml").write_text(text.split("budgets:")[0] + ONE_RUN + "\n")
    budget = folder / "params" / "budgets" / "micro.yaml"
    text = budget.read_text().replace("all:\n", CHECKPOINTS)
    for old, new in LONGER.items():
        text = text.replace(old, new)
    budget.write_text(text)
    if fake:
        shutil.copy(FAKE_TRAINER, folder / "amago2" / "cli.py")
    adjust(folder, **settings)
    project.commit(folder)
    return folder


def adjust(folder: Path, **settings: Any) -> None:
    """Shorter waits than on a real cluster, and other settings of the profile."""
    path = folder / "profiles" / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"slurm-init-seconds-before-status-checks": 3, "latency-wait": 10}
    profile |= {"seconds-between-status-checks": 3, "slurm-no-account": True}
    profile |= {"slurm-status-command": "squeue"}  # there is no accounting
    profile["default-resources"] |= {"mem_mb": 1000} | settings.pop("default-resources", {})
    path.write_text(yaml.safe_dump(profile | settings))


def start(folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workflow", "reproduce", *options]
    command += [] if options[-1] == "here" else ["--profile", "slurm"]
    return subprocess.Popen(
        [word for word in command if word != "here"],
        cwd=folder,
        env={**project.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=1500)
    return process.returncode, said


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.3)


def jobs(state: str) -> list[str]:
    command = ["squeue", "--noheader", "--states", state, "--format", "%i"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def occupy(node: str, *options: str) -> str:
    """Submit a job that sleeps on a node; returns its number."""
    where = [f"--nodelist={node}", "--output=/dev/null", *options]
    command = ["sbatch", "--parsable", *where, "--wrap", "sleep 1000"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def of_job(job: str, what: str) -> str:
    command = ["squeue", "--noheader", "--job", job, "--format", what]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def detail(job: str) -> str:
    """What Slurm says of a job, or of one that has ended not long ago."""
    command = ["scontrol", "show", "job", job]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def record(folder: Path) -> dict[str, object]:
    (path,) = folder.glob("results/micro/runs/*/*/*/record.json")
    content: dict[str, object] = json.loads(path.read_text())
    return content


def bits(folder: Path) -> dict[str, bytes]:
    """Everything of a finished run that must not depend on how it was made."""
    (run,) = (path.parent for path in folder.glob("results/micro/runs/*/*/*/record.json"))
    names = ("metrics.csv", "evaluations.csv", "config.yaml")
    files = [run / name for name in names]
    files += [path for bulk in ("checkpoint", "replay") for path in sorted((run / bulk).iterdir())]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_a_preempted_run_goes_on_to_the_same_bits_on_another_node(tmp_path: Path) -> None:
    """Without a checkpoint but that of being asked to stop; replay has copies on each node."""
    here = checkout(tmp_path / "here")
    code, said = finish(start(here, "--budget", "micro", "here"))
    assert code == 0, said

    there = checkout(tmp_path / "there", retries=0)
    disks = {node: tmp_path / "disk" / node for node in ("one", "two")}
    for disk in disks.values():
        disk.mkdir(parents=True)
    local = str(tmp_path / "disk" / "$SLURMD_NODENAME")
    process = start(there, "--budget", "micro", AMAGO2_LOCAL_DISK=local)
    wait_until(lambda: list(there.glob("results/micro/.scratch/*/progress.json")))
    (job,) = jobs("RUNNING")
    node = of_job(job, "%N")
    assert list(disks[node].iterdir())
    urgent = occupy(node, "--partition=urgent", "--exclusive")
    try:
        code, said = finish(process)
        assert code == 0, said
        assert of_job(urgent, "%T") == "RUNNING"
        assert "NodeList=" + ("two" if node == "one" else "one") in detail(job)
    finally:
        subprocess.run(["scancel", urgent], check=True)
    assert record(there)["resumptions"] == 1
    assert record(here)["resumptions"] == 0
    assert bits(there) == bits(here)
    assert [list(disk.iterdir()) for disk in disks.values()] == [[], []]


def test_a_run_near_its_time_limit_queues_its_job_again(tmp_path: Path) -> None:
    """Snakemake counts no failure: there is no retry."""
    settings = {"default-resources": {"runtime": 1}}
    folder = checkout(tmp_path / "project", fake=True, retries=0, **settings)
    code, said = finish(start(folder, "--budget", "micro", FAKE_SECONDS="70"))
    assert code == 0, said
    began = [float(share) for share in str(record(folder)["began"]).split()]
    assert len(began) > 1  # more than twice on a busy machine
    assert began == sorted(set(began))
    assert began[0] == 0


def test_a_run_that_slurm_may_not_queue_again_is_sent_again(tmp_path: Path) -> None:
    settings = {"slurm-requeue": False, "default-resources": {"runtime": 1}}
    folder = checkout(tmp_path / "project", fake=True, retries=3, **settings)
    extra = {"slurm_extra": "'--no-requeue'", "runtime": 1}
    adjust(folder, **{"slurm-requeue": False, "default-resources": extra})
    code, said = finish(start(folder, "--budget", "micro", FAKE_SECONDS="70"))
    assert code == 0, said
    assert len(str(record(folder)["began"]).split()) > 1


def test_a_cancelled_job_is_not_queued_again(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", fake=True, retries=0)
    process = start(folder, "--budget", "micro", FAKE_SECONDS="1000")
    wait_until(lambda: list(folder.glob("results/micro/.scratch/*/progress.json")))
    (job,) = jobs("RUNNING")
    subprocess.run(["scancel", job], check=True)
    code, said = finish(process)
    assert code == 1, said
    assert "JobState=CANCELLED" in detail(job)


def test_a_run_on_two_gpus_starts_once(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", fake=True, retries=0)
    budget = folder / "params" / "budgets" / "micro.yaml"
    text = budget.read_text().replace("all:\n", "all:\n  device: cuda\n")
    budget.write_text(text.replace("learner: {", "learner: {processes: 2, "))
    project.commit(folder)
    busy = [occupy(node, "--gpus=1") for node in ("one", "two")]
    wait_until(lambda: len(jobs("RUNNING")) == 2)
    process = start(folder, "--budget", "micro", FAKE_SECONDS="8", AMAGO2_GPUS="0=24,1=24")
    wait_until(lambda: jobs("PENDING"))  # each node has one GPU: it is not spread over both
    subprocess.run(["scancel", *busy], check=True)
    wait_until(lambda: list(folder.glob("results/micro/.scratch/*/progress.json")))
    (job,) = jobs("RUNNING")
    for expected in ("NumTasks=1 ", "NumNodes=1 ", "gres:gpu:2"):
        assert expected in detail(job)
    code, said = finish(process)
    assert code == 0, said
    assert str(record(folder)["began"]).split() == ["0.0"]


def test_a_failed_job_is_reported_with_its_log(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", fake=True, retries=0)
    code, said = finish(start(folder, "--budget", "micro", FAKE_FAILS="ind_actor_ind_critic"))
    assert code == 1
    assert "FAILED: popgym ind/ind seed 0 (results/micro/.logs/runs/popgym/" in said
    assert "    it went wrong: for no good reason" in said


def test_a_benchmark_of_the_smoke_budget(tmp_path: Path) -> None:
    """Several runs at once as a job array, tables and figures from them where we are."""
    folder = tmp_path / "project"
    project.copy_all(folder)
    adjust(folder, **{"slurm-array-jobs": "train"})
    project.commit(folder)
    code, said = finish(start(folder, "--budget", "smoke", "--benchmark", "babyai"))
    assert code == 0, said
    assert (folder / "results/smoke/figures/fig10.svg").is_file()
    assert len(list(folder.glob("results/smoke/runs/*/*/*/record.json"))) == 2
    assert len(arrays(folder, "smoke")) == 1


def test_an_array_of_more_runs_than_the_profile_has_jobs(tmp_path: Path) -> None:
    """The executor submits nothing of an array until it has been given all of it."""
    folder = checkout(tmp_path / "project", fake=True, jobs=1, **{"slurm-array-jobs": "train"})
    code, said = finish(start(folder, "--budget", "micro", "--seeds", "3"))
    assert code == 0, said
    assert len(list(folder.glob("results/micro/runs/*/*/*/record.json"))) == 3
    assert arrays(folder, "micro") == ["1-3"]


def arrays(folder: Path, budget: str) -> list[str]:
    """Numbers of the jobs in each array that was submitted."""
    (log,) = folder.glob(f"results/{budget}/.logs/snakemake-*.log")
    said = r"Submitted array job .*The individual task IDs are ([\d-]+)"
    return re.findall(said, log.read_text())
