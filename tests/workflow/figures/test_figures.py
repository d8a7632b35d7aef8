"""Every figure: rendered whole, in part and empty; the same bytes anywhere; no text on text."""

import itertools
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from tests.workflow.fake_results import POPGYM, ROOT, VARIANTS, compute_data, write_results
from workflow.analysis import frames, published_curves
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark, scale_files
from workflow.config import catalog
from workflow.config.parameters import Parameters
from workflow.figures import fig05
from workflow.render import draw as render
from workflow.render import panels, style

FIGURES = sorted(catalog.figures(ROOT / "params"))
PAGES = ("fig19", "fig20", "fig21", "fig22", "fig23", "fig24")  # as fig18


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`smoke`: a seed, all tasks; `mini`: three seeds, few tasks, a run missing; `paper`: none."""
    folder = tmp_path_factory.mktemp("results")
    write_results(folder / "smoke", seeds=1, steps=[0, 500, 1000], few=None)
    write_results(folder / "mini", seeds=3, steps=[0, 1000, 2000], few=3, missing=[2])
    compute_data(folder / "paper")
    return folder


def _draw(name: str, results: Path, budget: str, **changes: object) -> Figure:
    spec = catalog.figure(ROOT / "params", name).model_copy(update=changes)
    module, params = render._module(spec, budget)
    tables = frames.load(spec, results / budget, catalog.experiments(ROOT / "params"))
    badge = render.badge(spec, budget, Parameters(ROOT / "params").budget(budget), tables)
    figure: Figure = module.render(tables, replace(params, badge=badge))
    return figure


def _texts(figure: Figure) -> list[Text]:
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    undrawn = _undrawn(figure)
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
    return [text for text in texts if text.get_visible() and text not in undrawn]


def _undrawn(figure: Figure) -> set[Text]:
    """Text on hidden axes, and labels of ticks beyond an axis' ends: there, but never drawn."""
    found: set[Text] = set()
    for axes in [part for whole in figure.axes for part in (whole, *whole.child_axes)]:
        if not axes.get_visible():
            found.update(axes.findobj(Text))
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    found.update((tick.label1, tick.label2))
    return found


def _words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in _texts(figure))


CASES = [
    (name, budget)
    for budget in ("smoke", "mini", "paper")
    for name in FIGURES
    if name not in PAGES or budget == "paper"
]


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_text_is_legible_and_lies_on_nothing(results: Path, name: str, budget: str) -> None:
    figure = _draw(name, results, budget)
    texts = _texts(figure)
    assert figure.get_figwidth() == style.WIDTH
    assert min(float(text.get_fontsize()) for text in texts) >= 6
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    edge = figure.bbox
    for words, box in boxes:
        assert box.x0 >= edge.x0 - 1, words
        assert box.x1 <= edge.x1 + 1, words
        assert box.y0 >= edge.y0 - 1, words
        assert box.y1 <= edge.y1 + 1, words
    for (words, one), (others, other) in itertools.combinations(boxes, 2):
        # Boxes include the room for descenders: a touch is no overlap.
        overlap = min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        overlap &= min(one.y1, other.y1) - max(one.y0, other.y0) > 3
        assert not overlap, (words, others)


def test_a_sweep_has_no_place_for_cells_that_the_budget_leaves_out(results: Path) -> None:
    words = _words(_draw("ext_bins", results, "mini")).split("\n")
    assert [word for word in words if word in ("16", "32", "64", "128", "256")][:4] == [
        "16", "64", "128", "256"
    ]  # fmt: skip
    assert "32" not in words


def test_a_figure_says_budget_seeds_and_bars(results: Path) -> None:
    smoke, mini = (_words(_draw("fig05", results, budget)) for budget in ("smoke", "mini"))
    assert "smoke budget: not a result" in smoke
    assert "1 seed; no error bars" in smoke
    assert "mini budget" in mini
    assert "minimum and maximum over seeds" in " ".join(mini.split())


def test_what_is_computed_is_the_same_at_every_budget(results: Path) -> None:
    assert "not a result" not in _words(_draw("fig03", results, "smoke"))


def test_what_smoke_trains_enough_says_how_many_seeds(results: Path) -> None:
    words = _words(_draw("ext_return_scale", results, "smoke"))
    assert "smoke budget: 1 seed" in words
    assert "not a result" not in words
    assert "not a result" in _words(_draw("fig04", results, "smoke"))


def test_missing_runs_are_named(results: Path) -> None:
    words = " ".join(_words(_draw("fig05", results, "mini")).split())
    assert "Missing 1 of 9 runs: Ind. actor / Ind. critic seed 2." in words
    assert "2 to 3 seeds" in words


@pytest.mark.parametrize("name", ["fig05", "fig16", "fig17"])
def test_an_agent_of_some_tasks_is_drawn_at_equal_steps_of_each(results: Path, name: str) -> None:
    all_tasks, few = (_words(_draw(name, results, budget)) for budget in ("smoke", "mini"))
    assert "at equal steps of each task" in " ".join(few.split())
    assert "at equal steps of each task" not in " ".join(all_tasks.split())


COMPUTED = ("fig03", "fig12", "scorecard")  # the last shows claims, whether or not there are runs


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in COMPUTED])
def test_without_runs_there_is_an_empty_frame_with_a_sentence(results: Path, name: str) -> None:
    assert "No finished run of" in _words(_draw(name, results, "paper"))


def test_published_curves_can_be_switched_off(results: Path) -> None:
    with_, without = (
        _words(_draw("fig05", results, "smoke", show_reference=shown)) for shown in (True, False)
    )
    assert "published (same marks)" in with_
    assert "published (same marks)" not in without


def test_a_variant_has_one_colour_and_marker() -> None:
    looks = [(look.colour, look.marker) for look in style.AGENTS.values()]
    assert len({colour for colour, _ in looks}) == len({mark for _, mark in looks}) == len(looks)
    assert style.in_order(["z", *reversed(VARIANTS)]) == [*VARIANTS, "z"]


def test_fig05_is_the_mean_of_normalised_task_scores(results: Path) -> None:
    spec = catalog.figure(ROOT / "params", "fig05")
    tables = frames.load(spec, results / "smoke", ["popgym"])
    tables["popgym.evaluations"] = pd.DataFrame(
        [
            ("RepeatFirstEasy", 0, 10.0, 0.997),  # the best single-task result: 100 %
            ("RepeatFirstHard", 0, 10.0, -0.49841199999999),  # about the random policy's: 0 %
        ],
        columns=["task", "seed", "step", "value"],
    ).assign(
        benchmark="popgym", variant="ind_actor_ind_critic", cell="default", attempt=-1,
        metric="return", split="train", rollouts=1,
    )  # fmt: skip
    scores = frames.scores(tables["popgym.evaluations"])
    percent = normalise(scores, benchmark("popgym"), tables).value
    assert percent.tolist() == pytest.approx([100, 0], abs=0.01)
    figure = fig05.render(tables, render.Params("smoke", spec, fig05.Options()))
    lines = figure.axes[0].get_lines()
    blue = [line for line in lines if line.get_color() == style.AGENTS[VARIANTS[0]].colour]
    assert blue[0].get_ydata() == pytest.approx([50], abs=0.01)


def test_our_normalisation_gives_the_published_scores() -> None:
    """The published curves of single tasks, in our percent, average to the published fig05."""
    spec = catalog.figure(ROOT / "params", "fig05")
    tables = {
        f"reference.{key}": pd.read_csv(catalog.REFERENCE / file)
        for key, file in (spec.reference | scale_files()).items()
    }
    ours = published_curves.popgym(tables, POPGYM[:-1])  # one left out: made anew
    assert ours.low.isna().all()
    printed = published_curves.popgym(tables, POPGYM)
    assert len(printed) == len(tables["reference.curves"])
    described = benchmark("popgym")
    every = normalise(
        tables["reference.tasks"]
        .dropna(subset="timesteps")
        .assign(task=lambda rows: rows.panel.map(described.task_name)),
        described,
        tables,
    )
    last = every.sort_values("timesteps").groupby(["series", "task"]).value.last()
    for series, score in (("ind_actor_ind_critic", 87.2), ("dep_actor_dep_critic", 70.8)):
        assert last[series].mean() == pytest.approx(score, abs=2.5)
        assert len(last[series]) == described.tasks


def test_a_curve_is_cut_where_a_seed_ends() -> None:
    rows = [(0, 0, 1.0), (0, 10, 2.0), (0, 20, 9.0), (1, 0, 3.0), (1, 10, 6.0)]
    curve = frames.curve(pd.DataFrame(rows, columns=["seed", "step", "value"]))
    assert curve.steps.tolist() == [0, 10]
    assert [part.tolist() for part in curve.interval] == [[2, 4], [1, 2], [3, 6]]
    assert curve.seeds == 2


def test_fit_looks_at_what_is_seen_only() -> None:
    axes = Figure().subplots()
    axes.plot([0, 1, 100], [0.0, 1.0, 1000.0])
    axes.axhline(-50)
    panels.fit_axes(axes, 1)
    assert axes.get_ylim() == pytest.approx((-0.06, 1.06))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("HigherLowerEasy", "HigherLowerEasy"),
        ("NoisyPositionOnlyCartPoleMedium", "NoisyPosition\nOnlyCartPole\nMedium"),
        ("button-press-topdown-wall", "button-press-\ntopdown-wall"),
    ],
)
def test_long_names_are_broken_between_words(name: str, title: str) -> None:
    assert panels.task_title(name) == title


def test_tasks_go_from_easy_to_hard() -> None:
    names = ["BHard", "AMedium", "AEasy", "AHard", "BEasy"]
    ordered = ["AEasy", "AMedium", "AHard", "BEasy", "BHard"]
    assert sorted(names, key=panels.by_difficulty) == ordered


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.2, "0.2"), (-0.25, "-0.25"), (20000, "20k"), (108477000, "108M")],
)
def test_short_numbers(number: float, text: str) -> None:
    assert style.short_number(number) == text


_EVERYTHING = """
import sys
from dataclasses import replace
from pathlib import Path
from workflow.config import catalog
from workflow.config.parameters import Parameters
from workflow.render import draw as render
from workflow.report import page
results, params = Path(sys.argv[1]), Path(sys.argv[2])
for name in catalog.tables(params):
    render.render("table", name, "mini", results, params)
for name in sys.argv[3:]:
    render.render("figure", name, "mini", results, params)
page.write("mini", results, params)
"""


def _render(results: Path, names: list[str], **environment: str) -> None:
    arguments = [str(results), str(ROOT / "params"), *names]
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    subprocess.run(
        [sys.executable, "-c", _EVERYTHING, *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        check=True,
        cwd=results,
    )


# Lines, bars, a heat map, twin axes, many panels: what the others are made of too.
SAMPLE = [
    "fig03", "fig05", "fig06", "fig07", "fig09", "fig14", "ext_return_scale", "ext_adaptation",
    "ext_context_length", "scorecard",
]  # fmt: skip


def test_bytes_do_not_depend_on_time_zone_locale_hashes_order_or_folder(
    results: Path, tmp_path: Path
) -> None:
    made = []
    for place, (names, environment) in enumerate(
        [
            (SAMPLE, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}),
            (
                SAMPLE[::-1],
                {"TZ": "Pacific/Auckland", "LC_ALL": "C.utf8", "PYTHONHASHSEED": "5",
                 "OMP_NUM_THREADS": "2", "MPLCONFIGDIR": str(tmp_path / "fonts")},
            ),
        ]
    ):  # fmt: skip
        folder = tmp_path / f"copy{place}" / "results"
        folder.mkdir(parents=True)
        # The tidy tables alone: run folders must not be needed.
        target = folder / "mini" / "tables" / "data"
        target.mkdir(parents=True)
        for path in (results / "mini" / "tables" / "data").glob("*.csv"):
            (target / path.name).write_bytes(path.read_bytes())
        _render(folder, names, **environment)
        made.append(
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
        )
    assert made[0].keys() == made[1].keys()
    assert len([path for path in made[0] if path.suffix in {".pdf", ".svg", ".png"}]) == 3 * len(
        SAMPLE
    )
    assert [str(path) for path in made[0] if made[0][path] != made[1][path]] == []


def test_the_layout_has_no_stray_digits(results: Path, tmp_path: Path) -> None:
    # Its solver's rounding errors differ from one time to the next: five would show it.
    made = {
        style.save(_draw("fig05", results, "mini"), tmp_path / "fig05")[1].read_bytes()
        for _ in range(5)
    }
    assert len(made) == 1


def test_no_file_says_when_or_where_it_was_made(results: Path, tmp_path: Path) -> None:
    paths = style.save(_draw("fig05", results, "smoke"), tmp_path / "fig05")
    assert [path.suffix for path in paths] == [".pdf", ".svg", ".png"]
    for path in paths:
        content = path.read_bytes()
        for trace in (b"CreationDate", b"dc:date", b"Matplotlib v", str(tmp_path).encode()):
            assert trace not in content, (path.name, trace)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.pdf").write_bytes(b"old")
    figure = Figure()
    monkeypatch.setattr(figure, "savefig", lambda *a, **k: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        style.save(figure, tmp_path / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["f.pdf"]
    assert (tmp_path / "f.pdf").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["aggregate_scores", "performance_profiles"])
def test_bootstraps_neither_read_nor_change_global_random_states(results: Path, name: str) -> None:
    drawn = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
        figure = _draw(name, results, "mini")
        assert (repr(np.random.get_state()), random.getstate()) == before  # noqa: NPY002
        drawn.append([np.asarray(line.get_xydata()).tolist() for line in figure.findobj(Line2D)])
    assert repr(drawn[0]) == repr(drawn[1])


def test_curves_by_cell_have_one_stroke_a_label(results: Path) -> None:
    """The module of figures that compare settings, which has no experiment of its own yet."""
    panels_ = [
        {
            "title": "Ind. / Ind.",
            "variant": VARIANTS[0],
            "cells": {"default": "1", "rescaled": "2"},
        },
        {"title": "Dep. / Dep.", "variant": VARIANTS[3], "cells": {"rescaled": "2"}},
        {"title": "not run", "tasks": ["none"], "cells": {"default": "1"}},
    ]
    spec = catalog.figure(ROOT / "params", "fig15").model_copy(
        update={
            "module": "settings_curves",
            "reads": ("evaluations",),
            "options": {"panels": panels_, "columns": 3},
        }
    )
    module, params = render._module(spec, "mini")
    figure = module.render(frames.load(spec, results / "mini", ["procgen"]), params)
    colours = [[line.get_color() for line in axes.get_lines()] for axes in figure.axes]
    assert [len(panel) for panel in colours] == [2, 1, 0]
    assert colours[0][1] == colours[1][0] != colours[0][0]
    assert "no finished run" in _words(figure)
