"""Services that show metrics, for real but offline; `test_package.py` runs this where they are."""

import importlib
from pathlib import Path

import pytest

from amago2.training.amago_trainer import train
from tests.amago2.toy import SMALL, small

SHORT = {**SMALL["collector"], "epochs": 2}


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(small(collector=SHORT), tmp_path / "run", track=["wandb"])
    (stored,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    assert b"train_return/left" in content
    assert b"evaluation/train" in content


def test_mlflow_in_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = importlib.import_module("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    config = small(collector=SHORT)
    train(config, tmp_path / "run", track=["mlflow", "tensorboard"])
    (stored,) = mlflow.search_runs(experiment_names=["amago2"], output_format="list")
    assert stored.data.params["learner.batch_size"] == "8"
    assert stored.data.metrics["updates"] == 8
    history = mlflow.MlflowClient().get_metric_history(stored.info.run_id, "evaluation/train")
    assert [each.step for each in history] == [72]
