"""`make learn-check`: its table says what was measured, and rows that are there stay."""

import json
from pathlib import Path
from typing import Any

import pytest

from workflow.bench import sb3, starters
from workflow.bench.starter_checks import CHECKS
from workflow.docs.marked_section import END, begin


def row(method: str, seed: int, value: float, **more: Any) -> starters.Row:
    return {
        "check": "CartPole-v1", "method": method, "seed": seed, "steps": 1000, "cpu_s": 9.0,
        "returns": {"": value}, **more,
    }  # fmt: skip


def test_the_page_has_the_table_of_the_stored_rows() -> None:
    text = starters.PAGE.read_text().partition(begin(starters.COMMAND))[2].partition(END)[0]
    assert text.strip() == starters.page(starters.stored(starters.STORED))


def test_stored_rows_are_those_of_the_present_starter_configurations() -> None:
    for one in starters.stored(starters.STORED):
        if one["method"] == "amago2":
            config = starters.configuration(CHECKS[one["check"]], one["seed"])
            assert one["config"] == config.hash, one["check"]


def test_a_table_counts_the_seeds_that_reach_the_goal() -> None:
    rows = [row("amago2", seed, value) for seed, value in enumerate((500.0, 475.0, 474.9))]
    rows += [row("ppo", 0, 500.0, returns_at_equal_steps={"": 20.0})]
    ours, early, theirs = list(starters.table(rows))[2:]
    assert "500 475 474.9" in ours
    assert "2 of 3" in ours
    assert "ppo, our steps" in early
    assert ("20 |" in early, "0 of 1" in early) == (True, True)
    assert "1 of 1" in theirs


def test_rows_that_are_there_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(name: str, method: str, seed: int, seconds: float) -> starters.Row:
        measured.append((method, seed))
        return row(method, seed, 500.0)

    monkeypatch.setattr(starters, "_measure", measure)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("amago2", 0, 9.0, config="00000000")) + "\n")
    for _ in range(2):
        found = starters.measure("CartPole-v1", 2, 1.0, path)
        assert [one["returns"][""] for one in found] == [500.0] * 4
        assert measured == [("amago2", 0), ("amago2", 1), ("ppo", 0), ("ppo", 1)]
    assert len(starters.stored(path)) == 4
    assert len(path.read_text().splitlines()) == 5


def test_another_library_is_evaluated_after_as_many_steps_as_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = sb3.Settings(2, 96, {"n_steps": 16, "batch_size": 32, "gamma": 0.9}, normalise=True)
    monkeypatch.setitem(sb3.ZOO, ("two scales", "ppo"), settings)
    environments = CHECKS["two scales"].environments()
    environments.pop("mirrored x1000")
    found = sb3.train_and_evaluate("two scales", "ppo", 0, environments, (64, 60.0), (2, 0))
    assert found["steps"] == 96
    assert found["returns"].keys() == found["returns_at_equal_steps"].keys() == {"CartPole x1"}
    assert 8 <= found["returns"]["CartPole x1"] <= 500
    stopped = sb3.train_and_evaluate("two scales", "ppo", 0, environments, (64, 0.0), (2, 0))
    assert stopped["steps"] == 2
    assert "returns_at_equal_steps" not in stopped


def test_rows_of_the_check_take_the_place_of_their_former_ones(tmp_path: Path) -> None:
    page, folder = tmp_path / "page.jsonl", tmp_path / "check"
    folder.mkdir()
    with pytest.raises(SystemExit, match="no rows"):
        starters.take(folder, page)
    former = [row("ppo", 0, 1.0), row("amago2", 1, 2.0), row("amago2", 0, 3.0)]
    gone = row("amago2", 0, 4.0) | {"check": "an environment of former times"}
    page.write_text("".join(json.dumps(one) + "\n" for one in [gone, *former]))
    (folder / "CartPole-v1.jsonl").write_text(json.dumps(row("amago2", 0, 500.0)) + "\n")
    starters.take(folder, page)
    found = [(one["method"], one["seed"], one["returns"][""]) for one in starters.stored(page)]
    assert found == [("amago2", 0, 500.0), ("amago2", 1, 2.0), ("ppo", 0, 1.0)]
