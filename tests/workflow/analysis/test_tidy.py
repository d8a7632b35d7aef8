"""From run folders to tidy tables."""

import csv
import json
from pathlib import Path

import pytest

from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import tidy as tabulate
from workflow.cli.app import main

RUNS = [("toy", "ind_actor_ind_critic", "default", seed) for seed in range(2)]
WORLD = World({"default": {"easy": (0.0, 1.0), "hard": (-1.0, 1.0)}}, steps=[0, 10, 20])


def _tables(folder: Path, name: str = "toy") -> dict[str, list[dict[str, str]]]:
    tabulate.write(folder / "experiments" / f"{name}.json", folder)
    found = {}
    for kind in tabulate.COLUMNS:
        with (folder / "tables" / "data" / f"{name}.{kind}.csv").open(newline="") as file:
            found[kind] = list(csv.DictReader(file))
    return found


def test_means_over_rollouts_do_not_depend_on_their_order() -> None:
    values = [0.1, 0.2, 0.3, 1e16, -1e16]
    rows = [
        {"split": "s", "task": "t", "attempt": "-1", "step": "5", "metric": "return", "value": v}
        for v in map(repr, values)
    ]
    (mean,) = tabulate.mean_over_rollouts(rows)
    assert [mean] == list(tabulate.mean_over_rollouts(rows[::-1]))
    assert mean["rollouts"] == 5
    assert mean["value"] == pytest.approx(0.12)  # a plain sum loses the small ones


def test_tables_have_a_row_for_each_thing(tmp_path: Path) -> None:
    write_experiment(tmp_path, "toy", RUNS, WORLD)
    tables = _tables(tmp_path)
    assert {run["state"] for run in tables["runs"]} == {"finished"}
    assert len(tables["evaluations"]) == 2 * 3 * 2 * 2  # runs, steps, tasks, metrics
    losses = [row for row in tables["metrics"] if row["name"] == "loss_critic"]
    assert [row["step"] for row in losses] == ["10", "20"] * 2
    assert json.loads(tables["runs"][0]["settings"])["trajectory"]["width"] == 64
    assert [row["wall_s"] for row in tables["compute"]] == ["61.5", "61.5"]
    assert float(tables["compute"][0]["updates_per_s"]) == pytest.approx(2000 / 61.5)
    assert tables["evaluations"][0]["rollouts"] == "2"


def test_missing_runs_are_named_and_the_rest_is_there(tmp_path: Path) -> None:
    write_experiment(tmp_path, "toy", RUNS, WORLD, missing=[1])
    tables = _tables(tmp_path)
    assert [(run["seed"], run["state"]) for run in tables["runs"]] == [
        ("0", "finished"),
        ("1", "missing"),
    ]
    assert {row["seed"] for row in tables["evaluations"]} == {"0"}


def test_the_order_of_the_listing_changes_nothing(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, "toy", RUNS, WORLD)
    before = _tables(tmp_path)
    experiment = json.loads(path.read_text())
    experiment["runs"].reverse()
    path.write_text(json.dumps(experiment))
    assert _tables(tmp_path) == before


def test_long_logs_are_thinned_to_their_last_step() -> None:
    rows = [
        {"step": str(step), "name": name, "key": key, "value": "1.0"}
        for name, key in (("loss", ""), ("share", "task"))
        for step in range(1001)
    ]
    thinned = list(tabulate.thin(rows))
    for name, most in (("loss", tabulate.POINTS), ("share", tabulate.KEYED_POINTS)):
        steps = [row["step"] for row in thinned if row["name"] == name]
        assert len(steps) <= most
        assert steps[-1] == 1000
        assert steps == sorted(steps)


def test_short_logs_are_kept_whole() -> None:
    rows = [{"step": str(s), "name": "n", "key": "", "value": "0.1"} for s in range(300)]
    assert len(list(tabulate.thin(rows))) == 300


def test_gpu_energy_survives_a_resumption() -> None:
    telemetry = [
        {"time_s": str(place), "name": "gpu_joules", "value": str(value)}
        for place, value in enumerate([0, 50, 100, 0, 30])
    ]
    assert tabulate.cost({"gpu": {"name": "X"}}, telemetry)["gpu_joules"] == 130
    assert tabulate.cost({"gpu": None}, [])["gpu_joules"] is None


@pytest.mark.parametrize(
    ("text", "says"), [("[]", "JSON object"), ("{", "not readable JSON"), ("{}", "experiment")]
)
def test_a_wrong_listing_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert main(["job", "tidy", str(path), str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert str(path) in error
    assert error.count("\n") == 1
