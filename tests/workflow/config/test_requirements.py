"""What only a user can bring: without it a benchmark is left out, said, and nothing else fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from envs.retro_roms import MARIO_GAMES, Rom
from workflow.config import experiments, requirements
from workflow.config.experiments import Selection
from workflow.config.parameters import Parameters
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


@pytest.fixture
def nothing_cached() -> Iterator[None]:
    """So that pretended ROMs are looked at, and are forgotten by the tests that follow."""
    requirements.lacking.cache_clear()
    yield
    requirements.lacking.cache_clear()


def roms_are(monkeypatch: pytest.MonkeyPatch, found: dict[str, str]) -> None:
    """Pretend that exactly these ROMs, with these SHA-1s, were found."""

    def of(game: str) -> Rom:
        return Rom(game, Path(f"{game}.rom"), ("right",), found.get(game))

    monkeypatch.setattr(Rom, "of", of)
    requirements.lacking.cache_clear()


@pytest.mark.usefixtures("nothing_cached")
def test_the_sentence_names_the_games_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = MARIO_GAMES
    assert others
    roms_are(monkeypatch, {})
    said = requirements.lacking("retro")
    assert said is not None
    assert all(game in said for game in MARIO_GAMES)
    assert "make retro-roms FROM=folder" in said
    roms_are(monkeypatch, dict.fromkeys(others, "right") | {first: "wrong"})
    said = requirements.lacking("retro")
    assert said is not None
    assert first in said
    assert not any(f" {game}" in said.partition(";")[0] for game in others)


@pytest.mark.usefixtures("nothing_cached")
def test_nothing_is_lacking_when_every_rom_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    roms_are(monkeypatch, dict.fromkeys(MARIO_GAMES, "right"))
    assert requirements.lacking("retro") is None


@pytest.mark.usefixtures("nothing_cached")
def test_benchmarks_without_files_of_the_user_lack_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    roms_are(monkeypatch, {})
    assert requirements.lacking("retro_free") is None
    assert requirements.lacking("no such benchmark") is None


@pytest.mark.usefixtures("nothing_cached")
def test_a_benchmark_whose_simulator_has_no_wheel_for_this_python_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requirements, "THIS_PYTHON", (3, 12))
    assert requirements.lacking("procgen_easy") is None
    requirements.lacking.cache_clear()
    monkeypatch.setattr(requirements, "THIS_PYTHON", (3, 13))
    names = set(Parameters(ROOT / "params").names("benchmarks"))
    lack = {name for name in names - {"retro"} if requirements.lacking(name)}
    assert lack == {"procgen_easy", "procgen_easy_rescaled", "procgen_memory_hard"}
    with pytest.raises(ConfigError, match=r"procgen-mirror has no wheel.*PYTHON=python3\.11"):
        plan(Selection(experiments=("procgen",)), ROOT / "params", Path("nowhere"))


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
