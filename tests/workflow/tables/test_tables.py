"""Tables: their content, and the three forms in which they are written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from amago2 import run_record
from amago2.errors import ConfigError
from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import frames, hyperparameters
from workflow.analysis import tidy as tabulate
from workflow.config import catalog
from workflow.config.parameters import Parameters
from workflow.render import draw as render
from workflow.render import table_files as emit
from workflow.tables import compute, ledger
from workflow.tables import hyperparameters as table1
from workflow.tables import return_scale_scores as scores

ROOT = Path(__file__).resolve().parents[3]
FRAME = pd.DataFrame(
    {"name": ["a_b|c", "50 %"], "count": [1234, 5], "share": [0.123456, float("nan")]}
)


def test_markdown() -> None:
    assert emit.markdown(FRAME, "Title", "Caption.").splitlines() == [
        "## Title",
        "",
        "| name | count | share |",
        "| --- | ---: | ---: |",
        "| a_b\\|c | 1,234 | 0.1235 |",
        "| 50 % | 5 | – |",
        "",
        "Caption.",
    ]


def test_latex() -> None:
    lines = emit.latex(FRAME, "label", "100 % of $5").splitlines()
    assert lines[3:] == [
        r"\caption{100 \% of \$5}",
        r"\label{tab:label}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"name & count & share \\",
        r"\midrule",
        r"a\_b|c & 1,234 & 0.1235 \\",
        r"50 \% & 5 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1234.6, "1,235"), (0.00012345, "0.0001234"), (True, "True"), ("x", "x")],
)
def test_cells(value: object, text: str) -> None:
    assert emit.cell(value) == text


def test_a_table_without_rows_says_so() -> None:
    assert "no finished run" in emit.markdown(FRAME.iloc[:0], "T", "C.")


def _frames(values: str, published: str) -> dict[str, pd.DataFrame]:
    given = pd.DataFrame({"benchmark": ["b"], "key": ["learner.gradient_clip"], "value": [values]})
    columns = {"parameter": ["clip"], "benchmark": ["b"], "value": [published]}
    return {"hyperparameters": given, "reference.published": pd.DataFrame(columns)}


def _params(key: str = "learner.gradient_clip") -> render.Params:
    options = table1.Options(rows=[{"label": "clip", "keys": [key]}])
    return render.Params("smoke", None, options)


@pytest.mark.parametrize(
    ("ours", "published", "shown"), [("1.0", "1", "1"), ("0.5", "1", "0.5 † (paper: 1)")]
)
def test_a_value_that_differs_is_flagged(ours: str, published: str, shown: str) -> None:
    frame = table1.build(_frames(ours, published), _params())
    assert frame.same.tolist() == [shown == published]
    assert table1.display(frame)["b"].tolist() == [shown]


def test_a_benchmark_of_ours_has_no_published_value() -> None:
    tables = _frames("1.0", "1")
    tables["reference.published"] = tables["reference.published"].assign(benchmark="other")
    assert table1.display(table1.build(tables, _params()))["b"].tolist() == ["1 *"]


def test_a_row_that_asks_for_an_unknown_parameter() -> None:
    with pytest.raises(ConfigError, match=r"learner\.clap"):
        table1.build(_frames("1.0", "1"), _params("learner.clap"))


def test_benchmarks_that_are_alike_share_a_column() -> None:
    tables = _frames("1.0", "1")
    given = tables["hyperparameters"]
    twin, other = given.assign(benchmark="a_twin"), given.assign(benchmark="a", value="2.0")
    tables["hyperparameters"] = pd.concat([other, twin, given])
    options = table1.Options(
        rows=[{"label": "clip", "keys": ["learner.gradient_clip"]}], published_as={"a_twin": "b"}
    )
    shown = table1.display(table1.build(tables, render.Params("smoke", None, options)))
    assert shown.to_dict("list") == {"parameter": ["clip"], "b, a_twin": ["1"], "a": ["2 *"]}


PUBLISHED = ["ml45", "popgym", "procgen_easy", "procgen_memory_hard", "atari", "babyai"]


@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_the_paper_budget_is_as_published(benchmark: str) -> None:
    rows = pd.DataFrame(hyperparameters.rows(Parameters(ROOT / "params")))
    for name in ("table1", "table2"):
        spec = catalog.table(ROOT / "params", name)
        published = pd.read_csv(catalog.REFERENCE / spec.reference["published"], dtype=str)
        options = table1.Options.model_validate(spec.options)
        tables = {"hyperparameters": rows, "reference.published": published}
        frame = table1.build(tables, render.Params("paper", spec, options))
        own = frame[frame.benchmark == benchmark]
        assert own.same.all(), own
        # No row of the published table is left out or misspelt.
        assert set(published.parameter) == set(own.parameter)


def _return_scale(folder: Path, seeds: int) -> dict[str, pd.DataFrame]:
    tasks = {"scaled": {"task0_x1": (0.0, 1.0), "task1_x10": (0.0, 10.0)}}
    variants = ("dep_actor_dep_critic", "ind_actor_ind_critic")
    runs = [("return_scale", v, "scaled", s) for v in variants for s in range(seeds)]
    path = write_experiment(folder, "e", runs, World(tasks, steps=[0, 10]))
    data = folder / "tables" / "data"
    tabulate.write(path, folder)
    kinds = ("runs", "evaluations", "compute")
    return {f"e.{kind}": pd.read_csv(data / f"e.{kind}.csv") for kind in kinds}


def test_return_scale_scores_are_percent_of_a_perfect_attempt(tmp_path: Path) -> None:
    tables = _return_scale(tmp_path, seeds=2)
    frame = scores.build(tables, _params())
    assert frame.variant.tolist() == ["ind_actor_ind_critic"] * 2 + ["dep_actor_dep_critic"] * 2
    given = tables["e.evaluations"]
    own = given[
        (given.variant == "ind_actor_ind_critic")
        & (given.task == "task1_x10")
        & (given.step == 10)
        & (given.metric == "return")
    ]
    row = frame.iloc[1]
    assert row.score_pct == pytest.approx(100 * own.value.mean() / 10)
    assert (row.low, row.high) == pytest.approx((10 * own.value.min(), 10 * own.value.max()))
    shown = scores.display(frame)
    better = "P(Ind./Ind. better), task 1"
    assert shown.columns.tolist() == ["cell", "variant", "seeds", "task 1", "task 2", better]
    pairs = [
        (own.value.to_numpy(), rows.value.to_numpy())
        for _, rows in given[
            (given.variant == "dep_actor_dep_critic")
            & (given.step == 10)
            & (given.metric == "return")
        ].groupby("task")
    ]
    assert frame.better[:2].isna().all()
    ours, theirs = pairs[1]
    share = np.mean([(a > b) + 0.5 * (a == b) for a in ours for b in theirs])
    assert frame.better.iloc[3] == pytest.approx(share)
    assert pd.isna(frame.better_low.iloc[3])  # two seeds give no interval


def test_return_scale_scores_say_how_often_ours_are_better(tmp_path: Path) -> None:
    frame = scores.build(_return_scale(tmp_path, seeds=3), _params())
    low, value, high = frame[["better_low", "better", "better_high"]].iloc[2]
    assert 0 <= low <= value <= high <= 1
    text = scores.display(frame).iloc[:, -1].tolist()
    assert text == ["–", f"{value:.2f} [{low:.2f}, {high:.2f}]"]


def test_compute_counts_a_shared_run_once(tmp_path: Path) -> None:
    tables = _return_scale(tmp_path, seeds=1)
    shared = {"e.compute": tables["e.compute"], "f.compute": tables["e.compute"]}
    frame = compute.build(shared, _params())
    assert frame.runs.tolist() == [1, 1, 2]
    total = frame.iloc[-1]
    assert total.wall_min == pytest.approx(2 * 61.5 / 60)
    assert pd.isna(total.gpu_wh)
    shown = compute.display(frame)
    assert "GPU" not in shown.columns
    assert shown["wall time"].iloc[-1] == "2:03"
    assert shown["planned"].iloc[-1] == "1:00"


def test_tables_without_runs_are_made(tmp_path: Path) -> None:
    empty = {
        "e.evaluations": pd.DataFrame(columns=tabulate.COLUMNS["evaluations"]),
        "e.compute": pd.DataFrame(columns=tabulate.COLUMNS["compute"]),
    }
    for module in (scores, compute):
        shown = module.display(module.build(empty, _params()))
        assert "no finished run" in emit.markdown(shown, "T", "C.")


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    spec = catalog.table(ROOT / "params", "table1")
    with pytest.raises(ConfigError, match=r"hyperparameters\.csv: no such file"):
        frames.load(spec, tmp_path, [])


def test_the_ledger_counts_runs_that_failed_and_that_never_began(tmp_path: Path) -> None:
    """Four runs: finished twice, one of them after two interruptions; failed; never begun."""
    runs = [("popgym", "ind_actor_ind_critic", "default", seed) for seed in range(4)]
    world = World({"default": {"a": (0.0, 1.0)}}, [0, 3600])
    path = write_experiment(tmp_path, "popgym", runs, world, missing=(2, 3))
    entries = json.loads(path.read_text())["runs"]
    record = tmp_path / entries[0]["path"] / "record.json"
    record.write_text(run_record.seal(json.loads(record.read_text()) | {"resumptions": 2}))
    progress = tmp_path / ".scratch" / entries[2]["hash"] / "progress.json"
    progress.parent.mkdir(parents=True)
    progress.write_text('{"elapsed_s": 1800.0, "env_steps": 5, "updates": 1}')
    tabulate.write(path, tmp_path)
    spec = catalog.table(ROOT / "params", "ledger")
    tables = frames.load(spec, tmp_path, ["popgym"])
    frame = ledger.build(tables, render.Params("mini", spec, None)).set_index("benchmark")
    row = frame.loc["popgym"].to_dict()
    assert row == pytest.approx({
        "runs": 4, "finished": 2, "unfinished": 1, "not_begun": 1, "resumed": 2,
        "cpu_h": 120 / 3600, "wall_h": 123 / 3600, "unfinished_h": 0.5,
    })  # fmt: skip
    assert frame.loc["all"].to_dict() == row
    # What failed is no part of the means.
    assert compute.build(tables, render.Params("mini", spec, None)).runs.tolist() == [2, 2]
