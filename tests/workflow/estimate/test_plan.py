"""What a budget takes: counts exactly, times roughly."""

import fcntl
import json
import os
import re
import shutil
import time
from itertools import pairwise
from pathlib import Path

import pytest

from amago2.config.layers import Layer, read_yaml
from amago2.config.schema import AmagoConfig
from tests.amago2.toy import small
from tests.workflow import project
from tests.workflow.project import the_plan
from workflow.config.parameters import Parameters
from workflow.estimate import compute as cost
from workflow.estimate import hardware, plan
from workflow.estimate.plan import duration, rows, short
from workflow.execute import status as progress

PARAMS = Parameters(project.ROOT / "params")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project.copy_project(tmp_path / "project")
    project.enter(folder, monkeypatch)
    return folder


def ml45_sized(asynchronous: bool | None = None, **learner: int) -> AmagoConfig:
    """About the sizes for which operations per token were counted by hand."""
    over = {
        "agent": {"bins": 128},
        "timestep_encoder": {"hidden_sizes": [512], "output_size": 256},
        "trajectory_encoder": {"context_length": 256, "width": 320, "feedforward_size": 1280},
        "learner": {"batch_size": 1} | learner,
        "collector": {"asynchronous": asynchronous},
    }
    variant = "ind_actor_ind_critic"
    return PARAMS.resolve("popgym", variant, "paper", 0, [Layer("test", over)])


def test_counts() -> None:
    config = PARAMS.resolve("popgym", "ind_actor_ind_critic", "paper")
    assert cost.env_steps(config) == 24 * 1000 * 4200
    assert cost.updates(config) == 1000 * 4200
    late = Layer("test", {"collector": {"warmup_epochs": 200}})
    config = PARAMS.resolve("popgym", "ind_actor_ind_critic", "paper", 0, [late])
    assert cost.updates(config) == 1000 * 4000


def test_operations_agree_with_a_count_by_hand() -> None:
    """31 MFLOP for the Transformer and 71 for the critics, forward and backward, a token."""
    per_token = cost.flops_per_update(ml45_sized()) / 257 / 1e6
    assert 60 < per_token < 150


@pytest.mark.parametrize(
    ("actor", "sampled"), [("policy_gradient", 1 + 2), ("filtered_imitation", 1 + 5)]
)
def test_an_exact_expectation_values_every_action(actor: str, sampled: int) -> None:
    """Forwards of the critics: four actions for the target and four for the actor.

    Sampled, the target takes one and a policy gradient two, or filtered imitation one a sample.
    """
    agent = {"actor": actor, "critic": "two_hot", "value_samples": 5}
    one, other = (small(agent={**agent, "expectation": kind}) for kind in ("sampled", "exact"))
    a = one.agent
    sizes = [*a.head_hidden_sizes, a.bins]
    forward = len(a.discounts) * sum(x * y for x, y in pairwise(sizes))
    tokens = one.learner.batch_size * (one.trajectory_encoder.context_length + 1)
    more = cost.flops_per_update(other) - cost.flops_per_update(one)
    assert more == 2 * tokens * a.num_critics * forward * (4 + 4 - sampled)


def test_work_grows_with_batch_and_updates() -> None:
    one, two = ml45_sized(batch_size=1), ml45_sized(batch_size=2)
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
    for word in ("popgym", "ext_return_scale", "all different runs", "by a calibration of this"):
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


def test_status_shows_every_job(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three, four, *_ = the_plan().pending
    project.finish(one)
    state = {"phase": "learn", "epoch": 1, "env_steps": 600, "updates": 30, "elapsed_s": 10.0}
    # What a process's number says in a container, or on another machine, is no matter.
    shares = ((two, {"done": 0.6, "began": 0.1}), (three, {"done": 0.5}), (four, {"done": 0.7}))
    for run, more in shares:
        run.scratch.mkdir(parents=True)
        (run.scratch / "progress.json").write_text(json.dumps(state | {"pid": os.getpid()} | more))
        (run.scratch / "lock").touch()
    for silent in (two, three):  # one is held by a trainer here, the other by nobody
        os.utime(silent.scratch / "progress.json", (0, 0))
    with (two.scratch / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert progress.main(["--budget", "micro"]) == 0
    said = capsys.readouterr().out
    # 5 of 6 tenths were done in these 10 s: 500 steps, 25 updates; the other 4 tenths take 8 s.
    assert re.search(rf"{progress.label(two)} +learn +60% +600 +30 +50 +2.5 +8 s", said)
    assert re.search(rf"{progress.label(three)} +interrupted +50%", said)
    assert re.search(rf"{progress.label(four)} +learn +70%", said)  # elsewhere: its file is young
    assert "1 of 8 runs are finished, 2 are being trained, 1 are interrupted, 4 have not" in said
    assert progress.main(["--budget", "micro"]) == 0
    assert re.search(rf"{progress.label(two)} +interrupted +60%", capsys.readouterr().out)


def test_a_reproduction_ignores_signs_of_life_from_before_it(checkout: Path) -> None:
    run = the_plan().pending[0]
    run.scratch.mkdir(parents=True)
    (run.scratch / "progress.json").write_text('{"done": 0.5}')
    os.utime(run.scratch / "progress.json", (time.time() - 10,) * 2)
    assert not list(progress.Progress(the_plan()).training())
    assert len(list(progress.Progress(the_plan(), since=0).training())) == 1


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the project, without results."""
    folder = tmp_path_factory.mktemp("untrained") / "project"
    project.copy_all(folder)
    shutil.rmtree(folder / "results")
    return folder


@pytest.mark.parametrize("budget", ["smoke", "mini", "paper"])
def test_the_plan_of_every_budget(untrained: Path, budget: str) -> None:
    began = time.monotonic()
    done = project.run(untrained, "workflow.estimate.plan", "--budget", budget)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60  # 10 on a machine of its own
    said = set(re.findall(r"^ *(\w+) +\d+ +\d+ +\d+ ", done.stdout, re.MULTILINE))
    paths = (untrained / "params" / "experiments").glob("*.yaml")
    assert said == {path.stem for path in paths if budget in read_yaml(path)["budgets"]}
    assert re.search(r"all different runs +\d+ +\d+ +\d+ +[\d.]+[kMG] ", done.stdout)
    assert "Disk is what DVC versions" in done.stdout
    on_gpus = budget == "paper"
    assert ("On these" in done.stdout) != on_gpus
    assert ("wall time on 64 GPUs" in done.stdout) == on_gpus


def test_the_longest_runs_decide_when_all_are_done() -> None:
    assert plan.makespan([], 3) == 0
    assert plan.makespan([1, 1, 1, 3], 2) == 3
    assert plan.makespan([1, 2, 3, 4, 5], 2) == 8
    assert plan.makespan([5], 100) == 5


def test_gpu_hours_time_energy_and_cost(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkout / "params" / "budgets" / "micro.yaml"
    path.write_text(path.read_text().replace("all:\n", "all:\n  device: cuda\n"))
    seconds = {"RTX A5000": 36_000.0, "A100 80GB": 18_000.0}
    kinds = {id(kind): name for name, kind in cost.hardware().gpus.items()}
    monkeypatch.setattr(cost, "guess_s", lambda _, kind: seconds.get(kinds[id(kind)], 3600.0))
    assert plan.main(["--budget", "micro"]) == 0
    said = capsys.readouterr().out
    assert re.search("all different runs +80 +40 +8 +8", said)
    assert re.search("wall time on 4 GPUs +20 h +10 h", said)
    assert re.search("energy, kWh +18 +16", said)  # 80 h at 230 W, 40 h at 400 W
    assert re.search("cost, USD +40 +60", said)
    assert "published: 26, 25.7, 22, 14.5 updates/s" in said


def test_calibration_scales_guesses_to_this_machine(checkout: Path) -> None:
    here = hardware.Kernel(wall_s=0.3, cpu_s=0.1)
    there, start = cost.hardware().processor.kernel_s, cost.hardware().processor.start_s
    dag = the_plan()
    assert cost.correction(dag.runs.values(), here) == {"cpu": 0.3 / there}
    run = next(iter(dag.runs.values()))
    project.finish(run)
    runs = the_plan().runs.values()  # 60 CPU seconds, and the clock runs three times as fast
    found = cost.correction(runs, here)["cpu"]
    assert found == pytest.approx(3 * (60 + start) / cost.guess_s(run.config))
    kernel = hardware.calibrate()
    assert 0 < kernel.cpu_s < 2 * kernel.wall_s


def test_hardware_says_where_its_numbers_are_from() -> None:
    for gpu in cost.hardware().gpus.values():
        assert gpu.source.startswith(("published: ", "measured: ", "not measured: "))


def test_memory_that_a_run_claims_of_a_gpu() -> None:
    large = ml45_sized(batch_size=24)
    images = PARAMS.resolve("procgen_easy", "ind_actor_ind_critic", "paper")
    assert cost.gpu_bytes(images) > 2 * cost.gpu_bytes(large) > 0
    several = ml45_sized(batch_size=24, processes=4)
    assert (cost.gpus(large), cost.gpus(several)) == (1, 4)
    assert cost.gpu_bytes(large) < cost.gpu_bytes(several) < 4 * cost.gpu_bytes(large)
    assert cost.threads(several) == 4 * cost.threads(large)
    assert cost.guess_s(several) < cost.guess_s(large)
    beside = ml45_sized(asynchronous=True, batch_size=24, processes=4)
    assert (cost.gpus(beside), cost.threads(beside)) == (5, 5 * cost.threads(large))
    assert cost.guess_s(beside) < cost.guess_s(several)


def test_fitted_rates_leave_baselines_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two AMAGO-2 runs of known rates are recovered; a run of SAC beside them does not count."""
    monkeypatch.setattr(hardware, "calibrate", lambda: hardware.Kernel(0.02, 0.02))
    for name, updates in (("a", 10), ("b", 200)):
        config = small(learner={"updates_per_epoch": updates})
        operations = cost.updates(config) * cost.flops_per_update(config)
        seconds = operations / 5e8 + 2e-3 * cost.env_steps(config)
        _finished(tmp_path / "runs/x/y" / name, config.to_yaml(), seconds)
    _finished(tmp_path / "runs/x/sac/c", "trainer: sac\n", 1e6)
    found = hardware.fit(tmp_path)
    assert found["flops"] == pytest.approx(5e8, rel=0.01)
    assert found["step_s"] == {config.env.entry_point: pytest.approx(2e-3, rel=0.01)}


def _finished(folder: Path, config: str, seconds: float) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "record.json").write_text(json.dumps({"cpu_s": seconds}))
