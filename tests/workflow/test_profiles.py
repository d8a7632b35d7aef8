"""Profiles that no test runs for real: many GPUs, and a pod on Kubernetes."""

import importlib.util
import re
import signal
from pathlib import Path

import pytest
import yaml

from amago2.errors import ConfigError
from tests.workflow import project
from workflow.execute import snakemake
from workflow.execute.checks import check_profile
from workflow.execute.snakemake import placement

PROFILES = project.ROOT / "profiles"


def test_snakemake_accepts_the_profile_for_many_gpus(tmp_path: Path) -> None:
    folder = project.copy_project(tmp_path / "project")
    options = ("--workflow-profile", "profiles/gpu", "--config", "budget=micro", "seeds=1")
    done = project.run(folder, "snakemake", "-n", *options, "experiment=popgym")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train +2$", done.stdout + done.stderr, re.MULTILINE)


def test_an_array_is_given_all_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    profile = ["--workflow-profile", "profiles/slurm"]
    assert placement(dag := project.the_plan(), "slurm") == profile
    path = folder / "profiles" / "slurm" / "config.yaml"
    array = "slurm-array-jobs: train\n"
    path.write_text(f"{path.read_text()}{array}")  # jobs: 200
    assert placement(dag, "slurm") == profile
    path.write_text(f"jobs: 7\n{array}")
    assert len(dag.pending) == 8
    assert placement(dag, "slurm") == [*profile, "--jobs", "8"]


def test_the_pod_finds_its_command_and_its_checkout() -> None:
    job = yaml.safe_load((PROFILES / "kubernetes" / "job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    python, flag, module, *arguments = container["command"]
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module)
    command, option, budget = arguments
    assert (command, option) == ("reproduce", "--budget")
    assert (project.ROOT / "params" / "budgets" / f"{budget}.yaml").is_file()
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert container["workingDir"].startswith(mounts["checkout"] + "/")
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] > snakemake.STOP_TIMEOUT_S[signal.SIGTERM]
    assert mounts["shared-memory"] == "/dev/shm"
    assert pod["securityContext"]["runAsUser"] == 1000


def test_a_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.ROOT)
    for known in ("", "gpu", "slurm"):
        check_profile(known)
    with pytest.raises(ConfigError, match="unknown profile slurn; did you mean slurm"):
        check_profile("slurn")
