"""What is made anew after which change, counted: content decides, never file times."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import snakemake_jobs, the_plan, wanted

NOTHING: tuple[set[str], set[str]] = (set(), set())
POPGYM = {"popgym", "fig05", "fig16"}
SCALES = {"ext_return_scale"}
DRAWN_OF = {"report", "manifest", "describe"}
"""Targets that read every figure and table."""
OF_ALL = {"compute", "version"} | DRAWN_OF
"""Targets that read every experiment."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is made and committed."""
    folder = project.copy_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        project.pretend()
    project.commit(folder)
    return folder


@pytest.fixture
def clone(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone of it: no bulk, no Snakemake metadata, any file times."""
    project.git(made, "clone", "-q", str(made), str(tmp_path / "clone"))
    project.enter(tmp_path / "clone", monkeypatch)
    return tmp_path / "clone"


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def touch_everything(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if ".git" not in path.parts]
    rng = random.Random(0)
    for path in files:
        moment = time.time() + rng.uniform(-1e6, 1e6)
        os.utime(path, (moment, moment))


def of(benchmark: str, variant: str = "") -> set[str]:
    """Names of runs."""
    return {
        run.name
        for run in the_plan().runs.values()
        if run.config.benchmark == benchmark and variant in run.config.variant
    }


def test_a_fresh_clone_has_nothing_to_do(clone: Path) -> None:
    assert wanted() == NOTHING


def test_a_clone_that_converts_line_ends_has_the_same_bytes(made: Path, tmp_path: Path) -> None:
    project.git(made, "clone", "-q", "-c", "core.autocrlf=true", str(made), str(tmp_path / "clone"))
    names = project.git(made, "ls-files", "-z").split("\0")[:-1]
    changed = [
        name
        for name in names
        if (tmp_path / "clone" / name).read_bytes() != (made / name).read_bytes()
    ]
    assert names
    assert changed == []


def test_file_times_decide_nothing(clone: Path) -> None:
    touch_everything(clone)
    assert wanted() == NOTHING
    assert snakemake_jobs() == {}


def test_comments_decide_nothing(clone: Path) -> None:
    for path in [*clone.glob("params/*/*.yaml"), *clone.glob("workflow/**/*.py")]:
        path.write_text(f"# a comment\n{path.read_text()}# and another\n")
    assert wanted() == NOTHING


def test_a_changed_parameter_trains_its_runs_and_redraws_what_shows_them(clone: Path) -> None:
    touch_everything(clone)
    path = Path("params/variants/dep_actor_dep_critic.yaml")
    text = path.read_text()
    path.write_text(f"{text}learner: {{learning_rate: 2.0e-3}}\n")
    assert wanted() == (of("popgym", "dep_actor_dep_critic"), POPGYM | OF_ALL)
    expected = {"train": 1, "data_popgym": 1} | dict.fromkeys((POPGYM - {"popgym"}) | OF_ALL, 1)
    assert snakemake_jobs() == expected
    path.write_text(text)
    assert wanted() == NOTHING
    assert snakemake_jobs() == {}


def test_a_changed_cell_trains_its_runs(clone: Path) -> None:
    before = set(the_plan().runs)
    edit("params/experiments/ext_return_scale.yaml", "[1, 1, 1, 1]", "[2, 2, 2, 2]")
    runs, _ = wanted()
    assert len(runs) == 2
    assert not runs & before


def test_a_changed_figure_is_redrawn_alone(clone: Path) -> None:
    edit("params/figures/fig03.yaml", "title: ", "title: Another ")
    os.utime("results/micro/figures/fig03.svg", (4e9, 4e9))  # made in the future, it seems
    assert wanted() == (set(), {"fig03"} | DRAWN_OF)
    assert snakemake_jobs() == {"fig03": 1} | dict.fromkeys(DRAWN_OF, 1)


def test_a_changed_claim_makes_the_scorecard_anew_alone(clone: Path) -> None:
    for kind in ("tables", "figures"):
        text = (project.ROOT / "params" / kind / "scorecard.yaml").read_text()
        ours = "experiments: [popgym, ext_return_scale]"
        text, times = re.subn(r"experiments:(\n  - \w+)+", ours, text)
        assert times == 1
        Path(f"params/{kind}/scorecard.yaml").write_text(text)
    project.pretend()
    assert wanted() == NOTHING
    edit("params/claims.yaml", "holds: {above: 10}", "holds: {above: 12}  # more")
    assert wanted() == (set(), {"claims", "scorecard"} | DRAWN_OF)
    made = ("data_claims", "scorecard", "table_scorecard", *DRAWN_OF)
    assert snakemake_jobs() == dict.fromkeys(made, 1)
    edit("params/claims.yaml", "holds: {above: 12}", "holds: {above: 10}")
    assert wanted() == NOTHING


def test_changed_code_redraws_what_it_draws(clone: Path) -> None:
    with Path("workflow/figures/fig05.py").open("a") as file:
        file.write("UNUSED = 1\n")
    assert wanted() == (set(), {"fig05"} | DRAWN_OF)


def test_a_deleted_figure_is_redrawn_alone(clone: Path) -> None:
    Path("results/micro/figures/fig05.png").unlink()
    assert wanted() == (set(), {"fig05"})
    assert snakemake_jobs() == {"fig05": 1}
    assert snakemake_jobs("fig12") == {}


def test_a_deleted_tidy_table_is_made_again_alone(clone: Path) -> None:
    Path("results/micro/tables/data/popgym.evaluations.csv").unlink()
    assert wanted() == (set(), {"popgym"})
    assert snakemake_jobs("figures") == {}


def test_a_deleted_run_is_trained_again(clone: Path) -> None:
    (gone,) = of("popgym", "ind_actor_ind_critic")
    shutil.rmtree(the_plan().runs[gone].folder)
    assert wanted() == ({gone}, POPGYM | OF_ALL)


def test_a_run_made_elsewhere_with_other_numbers_is_noticed(clone: Path) -> None:
    (name,) = of("popgym", "ind_actor_ind_critic")
    project.finish(the_plan().runs[name], ended="2026-02-02")
    assert wanted() == (set(), POPGYM | OF_ALL)


def test_new_seeds_train_only_themselves(clone: Path) -> None:
    edit("params/experiments/popgym.yaml", "seeds: 1", "seeds: 2")
    runs, targets = wanted()
    assert {name.split("/")[-1][:5] for name in runs} == {"seed1"}
    assert len(runs) == 2
    assert targets == POPGYM | OF_ALL


def test_more_seeds_from_the_command_line(clone: Path) -> None:
    assert len(wanted(seeds="2")[0]) == 2
    assert wanted(seeds="1") == NOTHING


def test_selecting_leaves_out_the_rest(clone: Path) -> None:
    shutil.rmtree(clone / "results")
    runs, targets = wanted(experiment="popgym")
    assert runs == of("popgym")
    assert not targets & SCALES
    assert wanted(benchmark="popgym")[0] == runs
    assert wanted(benchmark="return_scale", seeds="1")[0] < of("return_scale")


def test_runs_that_are_not_selected_stay_listed(clone: Path) -> None:
    whole = [matrix.to_json() for matrix in the_plan().matrices]
    assert [matrix.to_json() for matrix in the_plan(seeds="1").matrices] == whole


def test_experiments_share_equal_runs(clone: Path) -> None:
    text = Path("params/experiments/popgym.yaml").read_text()
    Path("params/experiments/again.yaml").write_text(text)
    runs, targets = wanted()
    assert not runs
    assert "again" in targets


def test_an_extra_experiment_trains_its_own_cells_and_redraws_its_own_figure(clone: Path) -> None:
    for kind in ("experiments", "figures"):
        shutil.copy(project.ROOT / "params" / kind / "ext_filter.yaml", f"params/{kind}")
    path = Path("params/experiments/ext_filter.yaml")
    grids = path.read_text().split("budgets:")[0]
    path.write_text(f"{grids}budgets:\n  micro: {{seeds: 1, benchmarks: [popgym, return_scale]}}\n")
    dag = project.pretend()
    assert {run.name for run in dag.pending} <= of("popgym") | of("return_scale")
    assert len(dag.pending) == 4  # two filters of two benchmarks; the binary one is there
    assert wanted() == NOTHING
    edit("params/figures/ext_filter.yaml", "title: ", "title: Another ")
    assert wanted() == (set(), {"ext_filter"} | DRAWN_OF)
    edit("params/experiments/ext_filter.yaml", "filter: none", "filter: none, filter_threshold: 1")
    runs, targets = wanted()
    assert len(runs) == 2
    assert targets == {"ext_filter"} | OF_ALL


def test_writing_the_plan_changes_no_file_that_git_keeps(clone: Path) -> None:
    the_plan().write()
    assert project.git(clone, "status", "--porcelain") == ""


def test_a_run_is_named_by_everything_that_decides_it(clone: Path) -> None:
    runs = the_plan().runs.values()
    assert len({run.config.hash for run in runs}) == len(runs) == 8
    for run in runs:
        assert run.name == (
            f"{run.config.benchmark}/{run.config.variant}/seed{run.config.seed}-{run.config.hash}"
        )


def test_planning_is_quick_and_loads_nothing_heavy(clone: Path) -> None:
    code = (
        "import sys; from workflow.dag.plan import plan; "
        "from workflow.config.experiments import Selection; "
        "plan(Selection('micro')); "
        "print(sorted({'torch', 'pandas', 'matplotlib', 'numpy', 'gymnasium'} & set(sys.modules)))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - began < 5
