"""What only a user can bring: without it a benchmark is left out, said, and nothing else fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.config import experiments, requirements
from workflow.config.experiments import Selection
from workflow.dag.plan import plan

ROOT = Path(__file__).resolve().parents[3]


def runs_of(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, lacks: str | None
) -> tuple[int, list[str]]:
    monkeypatch.setattr(experiments, "lacking", {"retro": lacks}.get)
    dag = plan(Selection(), ROOT / "params", Path("nowhere"))
    asked = [run for run in dag.pending if run.config.benchmark == benchmark]
    assert any(run.config.benchmark == "retro_free" for run in dag.pending)
    return len(asked), dag.left_out


def test_without_roms_mario_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    count, said = runs_of("retro", monkeypatch, "the ROMs are missing")
    assert count == 0
    assert said == ["retro is left out: the ROMs are missing"]


def test_with_roms_mario_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    count, said = runs_of("retro", monkeypatch, None)
    assert count == 2
    assert said == []


def test_the_sentence_names_the_remedy() -> None:
    said = requirements.lacking("retro")
    assert said is None or "make retro-roms FROM=folder" in said


HIDE = """
from amago2.errors import RunError
from amago2.env.make import make_env
from workflow.config.parameters import Parameters
parameters = Parameters()
for name in parameters.names("benchmarks"):
    try:
        make_env(parameters.resolve(name, "ind_actor_ind_critic", "paper").env).close()
        print(f"{name}: is there")
    except RunError as error:
        print(f"{name}: {error}")
"""


def test_missing_simulators_are_a_sentence_each_and_the_other_benchmark_goes_on(
    tmp_path: Path,
) -> None:
    for package in ("popgym", "metaworld", "procgen", "ale_py", "minigrid", "stable_retro"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('hidden')")
    hidden = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", HIDE]
    done = subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True, check=True)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said.pop("return_scale") == "is there"
    assert len(said) == 10
    assert all("cannot be imported" in sentence for sentence in said.values())
    assert all("pip install 'amago2[" in sentence for sentence in said.values())
    assert "amago2[retro]" in said["retro_free"]
