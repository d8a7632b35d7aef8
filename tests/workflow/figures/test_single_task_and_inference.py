"""The two extra figures' own arithmetic, and that no run is trained twice for a probe."""

from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.fake_results import tidy
from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import frames
from workflow.analysis import tidy as tabulate
from workflow.config import catalog
from workflow.config.experiments import Selection, matrices
from workflow.config.parameters import Parameters
from workflow.figures import ext_single_task
from workflow.render import draw as render

PARAMETERS = Parameters(Path(__file__).resolve().parents[3] / "params")


def test_steps_are_shared_by_the_tasks_of_their_run() -> None:
    together = {"cell": "all_tasks", "seed": 0}
    rows = [together | {"task": task, "step": 300} for task in ("a", "b", "c")]
    rows += [{"cell": "a", "seed": 0, "task": "a", "step": step} for step in (0, 300)]
    scores = pd.DataFrame(rows).assign(benchmark="x", variant="v", split="train", value=1.0)
    found = ext_single_task.per_task(scores)
    assert found.groupby("cell").step.unique().map(list).to_dict() == {
        "all_tasks": [100],
        "a": [300],  # the score before any step has no place on a logarithmic axis
    }


def test_held_out_tasks_have_no_panel_and_take_no_steps(tmp_path: Path) -> None:
    ends = (0.0, 1.0)
    tasks = {"popgym": {"a": ends, "b": ends}, "alone": {"a": ends, "held_out": ends}}
    world = World(tasks, [0, 10], splits={"held_out": "test_tasks"})
    runs = [("popgym", "dep_actor_dep_critic", cell, 0) for cell in ("all_tasks", "alone")]
    path = write_experiment(tmp_path / "mini", "ext_single_task", runs, world)
    tidy(tmp_path / "mini", "ext_single_task", path)
    spec = catalog.figure(PARAMETERS.folder, "ext_single_task")
    module, given = render._module(spec, "mini")
    tables = frames.load(spec, tmp_path / "mini", ["ext_single_task"])
    panels = [axes for axes in module.render(tables, given).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["a"]
    assert sorted(line.get_xdata().tolist() for line in panels[0].get_lines()) == [[5], [10]]


@pytest.mark.parametrize("budget", ["mini", "paper"])
def test_probed_runs_are_those_of_other_experiments(budget: str) -> None:
    every = {matrix.name: matrix.members for matrix in matrices(PARAMETERS, Selection(budget))}
    probed = {member.config.hash: member.config for member in every.pop("ext_task_inference")}
    others = {member.config.hash for members in every.values() for member in members}
    assert set(probed) <= others
    assert all(config.evaluation.probe for config in probed.values())


def test_single_tasks_get_the_share_of_the_agent_of_all_tasks() -> None:
    (matrix,) = (m for m in matrices(PARAMETERS, Selection("paper")) if m.name == "ext_single_task")
    steps: dict[tuple[str, bool], set[int]] = {}
    for member in matrix.members:
        c = member.config.collector
        key = (member.config.benchmark, member.cell == "all_tasks")
        steps.setdefault(key, set()).add(c.actors * c.steps_per_epoch * c.epochs)
    for benchmark, tasks in (("popgym", 27), ("ml45", 45), ("atari", 10)):
        (whole,), (alone,) = steps[benchmark, True], steps[benchmark, False]
        assert alone == pytest.approx(whole / tasks, rel=0.02)


def test_probes_are_tabulated_where_there_are_any(tmp_path: Path) -> None:
    tasks = {"default": {"a": (0.0, 1.0), "b": (0.0, 1.0)}}
    runs = [("popgym", "ppo_gru", "default", 0)]
    for name, world in (("with", World(tasks, [0, 5], probe=True)), ("none", World(tasks, [0, 5]))):
        path = write_experiment(tmp_path / name, name, runs, world)
        tabulate.write(path, tmp_path / name)
    probed = pd.read_csv(tmp_path / "with" / "tables" / "data" / "with.probe.csv")
    assert set(probed.source) == {"memory", "input"}
    assert (probed.chance == 0.5).all()
    assert pd.read_csv(tmp_path / "none" / "tables" / "data" / "none.probe.csv").empty
