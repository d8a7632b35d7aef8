"""What only a user can bring: without it a benchmark is left out, said, and nothing else fails."""

from pathlib import Path

import pytest

from workflow import experiments, requirements
from workflow.dag import plan
from workflow.experiments import Selection

ROOT = Path(__file__).resolve().parents[2]


def runs_of(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, lacks: str | None
) -> tuple[int, list[str]]:
    monkeypatch.setattr(experiments, "lacking", lambda need: lacks)
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
    said = requirements.lacking("mario_roms")
    assert said is None or "make retro-roms FROM=folder" in said
