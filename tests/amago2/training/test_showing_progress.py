"""Lines without a terminal, and the services that are told of metrics."""

import time
from pathlib import Path
from typing import Any

import pytest

from amago2.errors import ConfigError
from amago2.training import progress, watch
from amago2.training.amago_trainer import train
from amago2.training.progress import Progress
from tests.amago2.toy import SMALL, small

SHORT = {**SMALL["collector"], "epochs": 2}


def test_without_a_terminal_there_is_a_line_every_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress(tmp_path / "progress.json", epochs=100)
    shown.score = ", return 3 (train)"
    written = []
    for _ in range(100):
        now += 3
        shown.report("learn", 1, 200, 5)
        if said := capsys.readouterr().err:
            written.append(now - 100)
            assert said.startswith("epoch 1/100 (learn), 200 steps, 5 updates")
            assert said.endswith(", return 3 (train)\n")
    assert written == [12, 33, 75, 135, 195, 255]
    assert progress.LINES_S == 60


def test_a_curve_is_drawn_from_low_to_high() -> None:
    assert watch.drawn([0.0, 7.0, 3.0]) == "▁█▄"
    assert watch.drawn([1.0]) == "▁"
    assert len(watch.drawn([float(x) for x in range(1000)])) == watch.POINTS
    assert watch.drawn([0.0, 0.0, 7.0, 7.0], 2) == "▁█"


def test_a_run_that_trains_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    seen: list[str] = []

    tags: set[str] = set()

    def look(_: Any, step: int, values: Any) -> None:
        watch.watch(out, once=True)
        seen.append(capsys.readouterr().out)
        tags.update(values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amago2.training.logs.TensorBoard.scalars", look)
        train(small(collector=SHORT), out)
    assert "steps" in seen[-1]
    assert "training, left" in seen[-1]
    assert any(line.split()[:2] == ["task", "least"] for line in seen[-1].splitlines())
    assert {"evaluation/train", "evaluation/train/left", "train_return/left"} <= tags


def test_a_narrow_terminal_has_the_whole_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{step},train_return,a task of one's own,{step}\n" for step in range(200))
    (tmp_path / "metrics.csv").write_text("step,name,key,value\n" + rows)
    for width, points in (("200", watch.POINTS), ("80", 8)):
        monkeypatch.setenv("COLUMNS", width)
        watch.watch(tmp_path, once=True)
        curve = "".join(sign for sign in capsys.readouterr().out if sign in watch.BARS)
        assert (curve[0], curve[-1]) == ("▁", "█")
        assert len(curve) >= points


def test_a_service_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"wandb is not installed; pip install 'amago2\[wandb\]'"):
        train(small(), tmp_path / "run", track=["wandb"])
    with pytest.raises(ConfigError, match="--track comet: must be tensorboard, wandb or mlflow"):
        train(small(), tmp_path / "run", track=["comet"])
    assert not (tmp_path / "run").exists()
