"""A made-up benchmark needs a description and a parameter file, and an experiment to train it in.

It is planned, its scores are normalised, and aggregates show it: no code is changed.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import workflow.benchmarks
from tests.workflow.fake_results import II, ROOT, tidy
from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import scores
from workflow.benchmarks.lookup import benchmark, benchmarks, main_experiments
from workflow.config import catalog
from workflow.config.experiments import Selection
from workflow.dag.plan import plan
from workflow.render import draw

DESCRIPTION = """
from workflow.benchmarks.description import Actions, Array, Benchmark, ShareOfMaximum

BENCHMARKS = (
    Benchmark(
        name="corridor",
        title="Corridor",
        position=90,
        tasks=2,
        published=False,
        observations={"observation": Array((3,))},
        actions=Actions("discrete", 2),
        scale=ShareOfMaximum("of the longest corridor", maximum=40.0),
    ),
)
"""
EXPERIMENT = f"""
title: Corridors
runs:
  - {{benchmark: corridor, variants: [{II}]}}
budgets:
  smoke: {{seeds: 2}}
"""


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's parameters with those of the new benchmark, which is described."""
    described = tmp_path / "described"
    described.mkdir()
    (described / "corridor.py").write_text(DESCRIPTION)
    found = [*workflow.benchmarks.__path__, str(described)]
    monkeypatch.setattr(workflow.benchmarks, "__path__", found)
    benchmarks.cache_clear()
    params = tmp_path / "params"
    shutil.copytree(ROOT / "params", params)
    settings = (params / "benchmarks" / "return_scale.yaml").read_text()
    own = settings.replace("envs.return_scale:ReturnScale", "my_package:Corridor")
    (params / "benchmarks" / "corridor.yaml").write_text(own)
    (params / "experiments" / "corridor.yaml").write_text(EXPERIMENT)
    yield params
    benchmarks.cache_clear()


def test_a_benchmark_of_ones_own_is_planned_normalised_and_drawn(
    params: Path, tmp_path: Path
) -> None:
    assert main_experiments()[-1] == "corridor"
    dag = plan(Selection(experiments=("corridor",)), params, tmp_path / "nowhere")
    assert [run.config.benchmark for run in dag.pending] == ["corridor"] * 2

    results = tmp_path / "results"
    runs = [("corridor", II, "default", seed) for seed in range(2)]
    tasks = {"left": (10.0, 20.0), "right": (10.0, 20.0)}
    path = write_experiment(results / "smoke", "corridor", runs, World({"default": tasks}, [0, 9]))
    tidy(results / "smoke", "corridor", path)
    evaluations = pd.read_csv(results / "smoke" / "tables" / "data" / "corridor.evaluations.csv")
    percent = scores.final("corridor", {"corridor.evaluations": evaluations})
    returns = evaluations[(evaluations.metric == "return") & (evaluations.step == 9)]
    assert percent.value.mean() == pytest.approx(100 * returns.value.mean() / 40)

    for kind, folder in (("table", "tables"), ("figure", "figures")):
        spec = getattr(catalog, kind)(params, "aggregate_scores")
        assert spec.experiments == "main"
        draw.render(kind, "aggregate_scores", "smoke", results, params)
        assert any((results / "smoke" / folder).glob("aggregate_scores.*"))
    table = pd.read_csv(results / "smoke" / "tables" / "aggregate_scores.csv")
    assert table.benchmark.tolist() == ["corridor"]
    assert table["mean"].tolist() == pytest.approx([percent.value.mean()])
    assert "corridor" in (results / "smoke" / "figures" / "aggregate_scores.svg").read_text()


def test_without_the_description_there_is_no_such_benchmark() -> None:
    with pytest.raises(LookupError, match="corridor"):
        benchmark("corridor")
