"""What a budget takes: counts exactly, times roughly."""

from pathlib import Path

import pytest

from amago2.config import Config
from amago2.layers import Layer
from workflow import cost, plan, progress
from workflow.plan import duration, rows, short
from workflow.resolve import Parameters

from . import project
from .project import the_plan

PARAMS = Parameters(project.ROOT / "params")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


def ml45_sized(**learner: int) -> Config:
    """About the sizes for which operations per token were counted by hand."""
    over = {
        "agent": {"bins": 128},
        "encoder": {"hidden": [512], "output": 256},
        "trajectory": {"context": 256, "width": 320, "feedforward": 1280},
        "learner": {"batch": 1} | learner,
    }
    variant = "ind_actor_ind_critic"
    return PARAMS.resolve("popgym", variant, "paper", 0, [Layer("test", over)])


def test_counts() -> None:
    config = PARAMS.resolve("popgym", "ind_actor_ind_critic", "paper")
    assert cost.env_steps(config) == 24 * 1000 * 4200
    assert cost.updates(config) == 1000 * 4200
    late = Layer("test", {"collector": {"learn_after": 200}})
    config = PARAMS.resolve("popgym", "ind_actor_ind_critic", "paper", 0, [late])
    assert cost.updates(config) == 1000 * 4000


def test_operations_agree_with_a_count_by_hand() -> None:
    """31 MFLOP for the Transformer and 71 for the critics, forward and backward, a token."""
    per_token = cost.flops_per_update(ml45_sized()) / 257 / 1e6
    assert 60 < per_token < 150


def test_work_grows_with_batch_and_updates() -> None:
    one, two = ml45_sized(batch=1), ml45_sized(batch=2)
    assert cost.flops_per_update(two) == 2 * cost.flops_per_update(one)
    assert cost.guess_s(two) > cost.guess_s(one)


def test_finished_runs_count_as_done_and_correct_the_guess(checkout: Path) -> None:
    before = dict(rows(the_plan()))
    assert (before["popgym"].runs, before["popgym"].done) == (2, 0)
    assert before["all different runs"].runs == 8
    first = next(iter(the_plan().runs.values()))
    project.finish(first)  # in a minute, which is more than the guess
    after = dict(rows(the_plan()))
    assert after["all different runs"].done == 1
    assert after["all different runs"].cpu_s > before["all different runs"].cpu_s


def test_the_command_shows_experiments_and_total(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan.main(["--budget", "micro"]) == 0
    said = capsys.readouterr().out
    for word in ("popgym", "ext_return_scale", "all different runs", "rough estimates"):
        assert word in said
    assert plan.main(["--budget", "micr"]) == 2
    assert not (checkout / "results").exists()


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (3.2, 89, 100, 7200, 1e6)] == [
        "4 s",
        "89 s",
        "2 min",
        "2 h",
        "12 days",
    ]
    assert [short(n) for n in (7, 12_345, 100.8e6, 2e9)] == ["7", "12.3k", "101M", "2G"]
    assert [progress.clock(s) for s in (5, 65, 3661)] == ["0:05", "1:05", "1:01:01"]


def test_progress_counts_what_is_done(checkout: Path) -> None:
    watched = progress.Progress(dag := the_plan())
    assert watched.line().startswith("runs 0/8 done, elapsed 0:00, about ")
    one, two, *_ = dag.pending
    project.finish(one)
    two.scratch.mkdir(parents=True)
    state = '{"done": 0.64, "pid": 1, "phase": "learn"}'
    (two.scratch / "progress.json").write_text(state)
    assert f"runs 1/8 done, 1 training ({progress.label(two)} 64%)" in watched.line()
    project.finish(two)
    assert watched.line().startswith("runs 2/8 done, elapsed")
