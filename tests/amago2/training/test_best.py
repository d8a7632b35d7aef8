"""The policy of the best evaluation is kept beside the last checkpoint."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amago2
from amago2 import run_record
from amago2.errors import RunError
from amago2.rollout import evaluate as evaluation
from amago2.training import trainer
from amago2.training.amago_trainer import train
from amago2.training.best import Evaluations, mean_by_task
from tests.amago2.toy import small
from tests.amago2.training.test_train import interrupted_at, table

CONFIG = small(
    collector={"epochs": 4},
    evaluation={"every": 1, "final_rollouts": 2, "rollouts": 2},
    checkpoint={"best": True, "every": 1},
)


@pytest.fixture(autouse=True)
def returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations find what they find, and the second finds 100 more."""
    found = evaluation.evaluate

    def better(*arguments: Any) -> list[evaluation.EvaluationRow]:
        more = 100.0 if arguments[5] == 2 else 0.0
        rows = found(*arguments)
        return [evaluation.EvaluationRow(**vars(row) | {"value": row.value + more}) for row in rows]

    monkeypatch.setattr(trainer, "evaluate", better)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_best_policy_is_kept_also_by_a_run_that_was_stopped(tmp_path: Path) -> None:
    whole = train(CONFIG, tmp_path / "whole")
    state = json.loads((whole / "best" / "state.json").read_text())
    values = {
        step: np.mean([float(r["value"]) for r in rows if r["step"] == str(step)])
        for rows in [[r for r in table(whole / "evaluations.csv") if r["metric"] == "return"]]
        for step in {int(r["step"]) for r in rows}
    }
    best = max(values, key=lambda step: float(values[step]))
    assert state["epoch"] == 2
    assert (state["mean_return"], best) == (values[best], sorted(values)[1])
    for epoch in (2, 3):
        interrupted_at(CONFIG, out := tmp_path / str(epoch), epoch)
        assert files(train(CONFIG, out) / "best") == files(whole / "best")


def test_it_is_a_part_of_the_run_that_acts(tmp_path: Path) -> None:
    run = train(CONFIG, tmp_path / "run")
    record = run_record.check(run, "best")
    assert record["best_sha256"].keys() == files(run / "best").keys()
    assert amago2.load(run / "best").act({"o": np.zeros(3, np.float32)}) in range(3)
    (run / "best" / "policy.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"best: policy.safetensors is damaged"):
        run_record.check(run, "best")


def test_a_run_that_is_continued_keeps_it_until_a_better_one(tmp_path: Path) -> None:
    first = train(CONFIG, tmp_path / "first")
    more = CONFIG.model_copy(
        update={"collector": CONFIG.collector.model_copy(update={"epochs": 5})}
    )
    longer = train(more, tmp_path / "longer", continue_from=first)
    assert files(longer / "best") == files(first / "best")


def test_without_evaluations_the_first_one_is_best(tmp_path: Path) -> None:
    (tmp_path / "evaluations.csv").write_text("split,step,task,metric,value\n")
    assert Evaluations.of(tmp_path / "evaluations.csv", "train").add({"a": -5.0})


def test_a_task_of_small_returns_counts_as_much_as_one_of_large_ones(tmp_path: Path) -> None:
    """By its place between the least and the highest that it had."""
    table = [(1, "small", 0.0), (1, "large", 1000.0), (2, "small", 0.0), (2, "small", 2.0)]
    lines = [f"train,{step},{task},return,{value}\n" for step, task, value in table]
    lines += ["test,1,small,return,9\n", "train,1,small,success,9\n", "train,2,large,return,0\n"]
    (tmp_path / "evaluations.csv").write_text("".join(["split,step,task,metric,value\n", *lines]))
    found = Evaluations.of(tmp_path / "evaluations.csv", "train")  # (0 + 1) / 2, and (1 + 0) / 2
    assert not found.add({"small": 0.5, "large": 400.0})  # (.5 + .4) / 2
    assert found.add({"small": 0.9, "large": 300.0})  # (.9 + .3) / 2
    assert not found.add({"small": 0.0, "large": 1100.0})  # .5, where (.9 + .27) / 2 is before
    assert mean_by_task([("a", 1.0), ("b", 5.0), ("a", 2.0)]) == {"a": 1.5, "b": 5.0}
