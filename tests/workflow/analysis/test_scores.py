"""Scores in percent, and the figures that compare settings by them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from amago2.errors import ConfigError
from tests.workflow.fake_results import ROOT, VARIANTS
from workflow.analysis import scores
from workflow.benchmarks.lookup import scale_files
from workflow.config.catalog import REFERENCE, FigureSpec
from workflow.config.experiments import Selection, matrices
from workflow.config.parameters import Parameters
from workflow.figures import settings_comparison, settings_sweep
from workflow.render import draw as render

II, DI, ID, DD = VARIANTS
Row = tuple[str, str, str, int, str, str, int, int, str, float]
COLUMNS = (
    "benchmark", "variant", "cell", "seed", "split", "task", "step", "attempt", "metric", "value",
)  # fmt: skip


def tables(*rows: Row) -> dict[str, pd.DataFrame]:
    """An experiment `e` with these evaluations, two benchmarks at least being listed as run."""
    evaluations = pd.DataFrame(rows, columns=list(COLUMNS)).assign(rollouts=1)
    keys = ["benchmark", "variant", "cell", "seed"]
    evaluations["run"] = evaluations.groupby(keys).ngroup().map("run {}".format)
    runs = evaluations[[*keys, "run"]].drop_duplicates().assign(state="finished", settings=None)
    published = {f"reference.{k}": pd.read_csv(REFERENCE / v) for k, v in scale_files().items()}
    return {"e.evaluations": evaluations, "e.runs": runs, **published}


def attempt(benchmark: str, task: str, number: int, value: float, **more: object) -> Row:
    given = {
        "variant": II, "cell": "default", "seed": 0, "split": "train", "step": 10,
        "metric": "attempt_return", **more,
    }  # fmt: skip
    own = {"benchmark": benchmark, "task": task, "attempt": number, "value": value, **given}
    return tuple(own[name] for name in COLUMNS)  # type: ignore[return-value]


def test_percent_of_each_benchmark_by_hand() -> None:
    made = tables(
        attempt("return_scale", "task2_x100", 0, 25.0),
        attempt("return_scale", "task2_x100", 1, 75.0),
        attempt("return_scale", "task2_x100", -1, 100.0, metric="return"),
        attempt("popgym", "RepeatFirstEasy", 0, -0.4),
        attempt("popgym", "RepeatFirstEasy", 1, 0.997),  # the best single-task result
        attempt("popgym", "RepeatFirstEasy", -1, 0.997, metric="return"),
        attempt("babyai", "GoToObj", 0, 0.5, split="test_tasks"),
        attempt("babyai", "GoToObj", 1, 0.7, split="test_tasks"),
        attempt("ml45", "reach-v3", 0, 1.0, metric="success"),
        attempt("ml45", "reach-v3", 0, 4321.0),
        attempt("ml45", "reach-v3", 2, 0.5, metric="success"),
    )
    whole = scores.of_all_experiments(made).set_index("benchmark").value
    assert whole["return_scale"] == 50  # the mean of both attempts
    assert whole["popgym"] == pytest.approx(100, abs=0.01)  # the last one alone
    assert whole["babyai"] == pytest.approx(60)
    assert whole["ml45"] == 75
    gain = scores.gain(made).set_index("benchmark").value
    assert gain["return_scale"] == 50
    assert gain["babyai"] == pytest.approx(20)
    assert gain["ml45"] == -50  # three attempts
    assert gain["popgym"] == pytest.approx(100 * 1.397 / (0.997 + 0.4998), rel=0.01)
    assert set(scores.on_training_tasks(scores.of_all_experiments(made)).benchmark) == {
        "return_scale",
        "popgym",
        "ml45",
    }


def test_a_benchmark_without_a_scale_has_no_percent() -> None:
    with pytest.raises(ConfigError, match="scores of retro cannot be compared"):
        scores.of_all_experiments(tables(attempt("retro", "SuperMarioBros-Nes:Level1-1", 0, 1.0)))


def draw(module: object, options: object, *rows: Row) -> Figure:
    spec = FigureSpec(name="f", title="t", caption="c", module="m", experiments=("e",))
    figure: Figure = module.render(tables(*rows), render.Params("mini", spec, options))  # type: ignore[attr-defined]
    return figure


def lines(figure: Figure, panel: int = 0) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in figure.axes[panel].get_lines()]


def test_curves_by_attempt_cell_and_set_of_tasks_by_hand() -> None:
    rows = [
        attempt("return_scale", f"task0_x{scale}", number, share * scale, step=step, cell=cell,
                split=split)
        for scale in (1, 1000)
        for cell, low in (("default", 0.1), ("label", 0.5))
        for split, more in (("train", 0.0), ("test_tasks", 0.2))
        for number in (0, 1)
        for step in (5, 10)
        for share in [low + more + 0.1 * number + 0.01 * step]
    ]  # fmt: skip
    own = [row for row in rows if row[2] == "default"]
    for by, names, chosen, expected in (
        ("attempt", {"0": "first", "1": "second"}, own, [[15, 20], [25, 30]]),
        ("tasks", {"trained": "old", "novel": "new"}, own, [[20, 25], [40, 45]]),
        ("cell", {"default": "without", "label": "with"}, rows, [[20, 25], [60, 65]]),
    ):
        options = settings_comparison.Options(by=by, names=names)
        figure = draw(settings_comparison, options, *chosen)
        drawn = lines(figure)
        assert [pytest.approx(line) for line in expected] == drawn
        dashes = [line.get_linestyle() for line in figure.axes[0].get_lines()]
        assert dashes == ["-", "--"]


def test_a_sweep_puts_each_cell_at_its_place() -> None:
    rows = [
        attempt("return_scale", "task0_x10", number, value, cell=cell, seed=seed, step=step)
        for cell, base in (("b16", 2.0), ("b64", 6.0), ("l32", 4.0))
        for seed in (0, 1)
        for number in (0, 1)
        for step in (5, 10)
        for value in [base + seed + number if step == 10 else 0.0]
    ]
    options = settings_sweep.Options(
        label="B", rows=("score", "gain"),
        series={"symlog": {"b16": "16", "b64": "64"}, "linear": {"l32": "32"}},
    )  # fmt: skip
    figure = draw(settings_sweep, options, *rows)
    top, bottom = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in top.get_lines()] == [[0, 1], [2]]
    assert lines(figure) == [[30, 70], [50]]  # mean of seeds and attempts, in % of 10
    assert lines(figure, 1) == [[10, 10], [10]]
    whiskers = top.collections[0].get_paths()
    assert [np.asarray(path.vertices)[:, 1].tolist() for path in whiskers] == [[25, 35], [65, 75]]
    assert [label.get_text() for label in bottom.get_xticklabels()] == ["16", "64", "32"]


def test_a_benchmark_without_finished_runs_says_so() -> None:
    data = tables(attempt("return_scale", "task0_x1", 0, 1.0))
    missing = data["e.runs"].assign(benchmark="babyai", state="missing")
    data["e.runs"] = pd.concat([data["e.runs"], missing])
    spec = FigureSpec(name="f", title="t", caption="c", module="m", experiments=("e",))
    for module, options in (
        (settings_comparison, settings_comparison.Options(names={"default": "d"})),
        (settings_sweep, settings_sweep.Options(label="B", series={"s": {"default": "1"}})),
    ):
        figure = module.render(data, render.Params("mini", spec, options))
        assert [text.get_text() for text in figure.axes[1].texts] == ["no finished run"]


def test_cells_that_equal_another_experiments_run_are_that_run() -> None:
    """What the extra experiments compare with is trained once."""
    for budget in ("smoke", "mini", "paper"):
        found = {m.name: m for m in matrices(Parameters(ROOT / "params"), Selection(budget))}
        names = {
            name: {member.config.run_name for member in matrix.members}
            for name, matrix in found.items()
        }
        main = names["popgym"] | names["ml45"] | names["babyai"] | names["ext_return_scale"]
        assert names["ext_novel_tasks"] <= main
        plain = [
            member.config
            for name in ("ext_task_label", "ext_architecture", "ext_filter")
            for member in found[name].members
            if member.cell == "default"
        ]
        own = {config.run_name for config in plain if config.benchmark != "return_scale"}
        assert own <= main
        # `smoke` has a short run of return_scale instead of the whole one: one for all of them.
        scale = [config for config in plain if config.benchmark == "return_scale"]
        short = {config.run_name for config in scale}
        assert len(short) == len({(config.variant, config.seed) for config in scale})
        assert short & names["ext_bins"] or budget == "paper"  # without symlog_32
        assert short <= main or budget == "smoke"
