"""What is measured computes what the plain way computes, and the page says what was measured."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from amago2.agent.agent import Agent
from amago2.agent.batch import Batch
from amago2.config.layers import merge
from amago2.config.schema import AmagoConfig
from amago2.errors import ConfigError
from amago2.nets.transformer import Transformer
from tests.amago2.toy import small
from workflow.bench import (
    axes,
    goals,
    gpu,
    learning,
    measures,
    page,
    performance,
    plots,
    published,
    tensor_memory,
    unoptimised,
    workloads,
)
from workflow.docs.marked_section import END, around, begin

DOCS = Path(__file__).resolve().parents[3] / "docs"
TINY = {
    "agent": {
        "discounts": [0.5, 0.9],
        "head_hidden_sizes": [16, 16],
        "bins": 16,
        "filter": "exponential",  # for the other one rounding decides where advantages are 0
    },
    "timestep_encoder": {"hidden_sizes": [16], "output_size": 8},
    "trajectory_encoder": {
        "context_length": 7,
        "width": 16,
        "feedforward_size": 32,
        "heads": 2,
        "dropout": 0,
    },
    "learner": {"batch_size": 6},
}


def tiny(size: str, variant: str, encoder: dict[str, Any] | None = None) -> AmagoConfig:
    if size == "pixels":
        images = {"channels": [4, 4], "features": 16, "output_size": 8}
        return workloads.config(
            size, variant, {**TINY, "timestep_encoder": {**images, **(encoder or {})}}
        )
    return workloads.config(size, variant, TINY)


def padded(size: str, config: AmagoConfig) -> Batch:
    """Noise, of which each sub-sequence has another valid length."""
    batch = workloads.batch(size, config, torch.Generator().manual_seed(0))
    count, length = batch.valid.shape
    lengths = torch.arange(count).unsqueeze(1) % (length - 2) + 3
    return dataclasses.replace(batch, valid=torch.arange(length) < lengths)


def gradients(agent: Agent, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    loss, _ = agent.loss(batch, torch.Generator().manual_seed(1))
    loss.backward()
    found = {n: p.grad for n, p in agent.named_parameters() if p.grad is not None}
    return float(loss.detach()), found


def assert_equal(one: tuple[float, Any], other: tuple[float, Any]) -> None:
    """Loss and gradient to 1e-5 relative; a part of it to 1e-4, unless it is 0 but for rounding."""
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    whole = torch.cat([g.flatten() for g in one[1].values()])
    difference = whole - torch.cat([g.flatten() for g in other[1].values()])
    assert difference.norm() <= 1e-5 * whole.norm()
    for name, gradient in one[1].items():
        assert (gradient - other[1][name]).norm() <= 1e-4 * gradient.norm() + 1e-7 * whole.norm(), (
            name
        )


@pytest.mark.parametrize("variant", list(workloads.VARIANTS))
@pytest.mark.parametrize("size", ["small", "ml45"])  # discrete and continuous actions
def test_fast_losses_and_gradients_are_the_plain_ones(size: str, variant: str) -> None:
    config = tiny(size, variant)
    fast = gradients(workloads.agent(size, config), padded(size, config))
    with unoptimised.unoptimised_learner():
        slow = gradients(workloads.agent(size, config), padded(size, config))
    assert_equal(fast, slow)


def test_frames_computed_again_give_the_same_gradients() -> None:
    found = []
    for frames in (None, 5):
        config = tiny("pixels", "ind_actor_ind_critic", {"recompute_frames": frames})
        found.append(gradients(workloads.agent("pixels", config), padded("pixels", config)))
    assert_equal(*found)


def test_the_fused_optimiser_steps_as_the_plain_one() -> None:
    after = []
    for fused in (True, False):
        config = tiny("small", "dep_actor_dep_critic")
        agent = workloads.agent("small", config)
        update = measures.updater(agent, padded("small", config), fused)[1]
        for _ in range(3):
            update()
        after.append(torch.cat([p.detach().flatten() for p in agent.parameters()]))
    assert torch.allclose(after[0], after[1], rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_cached_steps_are_those_of_the_whole_sequence() -> None:
    config = tiny("small", "dep_actor_dep_critic").trajectory_encoder
    assert config.kind == "transformer"
    net = Transformer(5, config).eval()
    tokens = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    states = []
    for how in (contextlib.nullcontext(), unoptimised.unoptimised_actors()):
        with how:
            held = net.initial_memory(3, torch.device("cpu"))
            found = []
            for t in range(7):
                found.append(net.step(tokens[t], held))
                if t == 2:
                    held.reset(1)
            states.append(torch.stack(found))
    assert torch.allclose(states[0], states[1], rtol=1e-5, atol=1e-5)


def test_the_account_of_tensors_agrees_with_the_allocator() -> None:
    config = tiny("pixels", "ind_actor_ind_critic")
    account = tensor_memory.accounted_peak("pixels", config)
    assert account["peak"] == pytest.approx(
        tensor_memory.allocator_peak("pixels", config), rel=0.05
    )
    assert sum(account.values()) == pytest.approx(2 * account["peak"])


def test_fitted_slopes_are_exponents() -> None:
    assert axes.slope({"1": 3.0, "10": 300.0, "100": 30000.0}) == pytest.approx(2)
    assert axes.slope({"4": 7.0, "400": 7.0}) == pytest.approx(0)


def test_the_plot_repeats_byte_for_byte(tmp_path: Path) -> None:
    rows = [{"axis": axis, "points": {"1": 2.0, "10": 3.0}} for axis in axes.AXES]
    for name in ("a.png", "b.png"):
        plots.save(rows, ["A fact."], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


PARTS_OF_MEMORY = ("weights and targets", "gradients", "moments", "batch", "kept for backward")


def made_up(job: dict[str, str], factor: float) -> dict[str, Any]:
    """A row of a part: the arguments of the job, and results for any measure."""
    names = [
        "seconds", "tokens_per_s", "tflop_per_s", "paper_tflop", "peak_gib", "steps_per_s",
        "updates_per_s", "area", "last", "written_per_s", "sampled_per_s", "whole_steps_per_s",
        "first_step_s", "first_update_s", "first_s", "busy", "cpu_s", "all_cpu_s", "utilisation",
        "allocated_gib", "checked_per_s", "unchecked_per_s", "cost",
    ]  # fmt: skip
    bytes_of = (*PARTS_OF_MEMORY, "temporary", "peak", "accounted", "measured")
    return {
        **dict.fromkeys(names, factor),
        **dict.fromkeys(bytes_of, factor * 2**30),
        "updates": round(factor),
        "points": {"1": factor, "10": 2 * factor},
        "shares": {"gemm": 1.0},
        "scores": {"task": 0.5},
        **job,
    }


@pytest.mark.parametrize("part", list(page.PARTS))
def test_the_table_of_a_part_shows_every_job(part: str) -> None:
    """Another result of any one job changes the table."""
    tabulate = page.PARTS[part][1]
    jobs = list(performance.jobs(part))
    assert jobs
    assert len({tuple(job.values()) for job in jobs}) == len(jobs)
    rows = [made_up(job, 2.0 + i) for i, job in enumerate(jobs)]
    table = tabulate(rows)
    for i, job in enumerate(jobs):
        other = [*rows[:i], made_up(job, 1000.0), *rows[i + 1 :]]
        assert tabulate(other) != table, job


def test_stored_measurements_are_those_of_the_jobs() -> None:
    data = json.loads((DOCS / "performance.json").read_text())
    assert set(data) <= set(page.PARTS)
    for part, measured in data.items():
        jobs = list(performance.jobs(part))
        pairs = zip(measured["rows"], jobs, strict=True)
        assert [{name: row[name] for name in job} for row, job in pairs] == jobs, part


def test_a_learning_run_ends_with_the_scores_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(collector={"epochs": 3}, evaluation={"every": 1})
    monkeypatch.setattr(learning, "config_of", lambda _: config)
    found = {}
    for wanted in (-1e9, 1e9):
        monkeypatch.setitem(learning.ROWS, "toy/one", {"": wanted})
        found[wanted] = learning.learning("toy/one", "3")
    steps = config.collector.actors * config.collector.steps_per_epoch
    assert found[-1e9]["steps"] == steps
    assert found[-1e9]["cpu_s"] == pytest.approx(found[-1e9]["all_cpu_s"], rel=0.01)
    assert found[1e9]["steps"] == 3 * steps
    assert found[1e9]["cpu_s"] is None


@pytest.mark.parametrize(
    ("float32", "bfloat16", "reached"),
    [(2.0, None, "yes"), (1.9, 4.5, "in bfloat16"), (None, 1.0, "**no**"), (1.9, None, "**no**")],
)
def test_a_goal_is_judged_by_the_default_precision_first(
    float32: float | None, bfloat16: float | None, reached: str
) -> None:
    assert goals.Goal("speed", 2, float32, bfloat16).reached == reached


def test_a_learning_row_counts_by_its_middle_seed() -> None:
    """A seed that never got there is slower than all others."""
    name, (seconds, _) = next(iter(published.LEARNING.items()))

    def goal(*found: float | None) -> tuple[float, str]:
        rows = [
            {"row": name, "seed": str(seed), "cpu_s": cpu_s, "all_cpu_s": 99.0, "updates": 7}
            | {"scores": {"task": 0.25}}
            for seed, cpu_s in enumerate(found)
        ]
        (found_goal,) = goals.evaluate({"learning": {"rows": rows}})
        assert found_goal.bfloat16 is not None
        return found_goal.bfloat16, page.learning(rows)[-1]

    ratio, line = goal(None, 10.0, 5.0)
    assert ratio == seconds / 10
    assert "0.25 (seed 0, 7 updates, 99 s)" in line
    ratio, line = goal(None, 10.0, None)
    assert ratio == 0
    assert "not reached" in line


@pytest.fixture
def gpu_part_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's sizes shrunk, and dynamo without a compiler behind it: no GPU is here."""
    whole = workloads.config

    def shrunk(size: str, variant: str, over: dict[str, Any] | None = None) -> AmagoConfig:
        return whole(size, variant, merge(over or {}, TINY))

    monkeypatch.setattr(workloads, "config", shrunk)
    monkeypatch.setattr(gpu, "BACKEND", "eager")


@pytest.mark.usefixtures("gpu_part_on_a_cpu")
def test_an_update_of_the_gpu_part_is_the_same_compiled() -> None:
    losses = {}
    for how in ("eager", "compiled"):
        config = gpu.sized("popgym", "float32", how, "cpu")
        agent = gpu.agent_of("popgym", config, how)
        losses[how] = gradients(agent, padded("popgym", config))
    assert_equal(*losses.values())


@pytest.mark.usefixtures("gpu_part_on_a_cpu")
def test_the_gpu_part_measures_and_profiles() -> None:
    found = gpu.gpu("popgym", "bfloat16", "eager", 1, "cpu")
    assert found["tflop_per_s"] == pytest.approx(found["tflop"] / found["seconds"])
    watched = gpu.profile("float32", 2, "cpu", "popgym")
    assert sum(watched["shares"].values()) == pytest.approx(1)
    assert 0 < watched["busy"] <= 1
    assert gpu.gpu_actors("2", "float32", 1, "cpu")["steps_per_s"] > 0


def test_the_gpu_part_is_left_out_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "missing", lambda: "there is no GPU")
    with pytest.raises(ConfigError, match="gpu cannot be measured here: there is no GPU"):
        performance.run(["gpu"], 1)
    with pytest.raises(ConfigError, match=r"lerner is not a part: those are .*learner"):
        performance.run(["lerner"], 1)
    measured: list[str] = []

    def no_jobs(part: str) -> list[Any]:
        measured.append(part)
        return []

    monkeypatch.setattr(performance, "jobs", no_jobs)
    monkeypatch.setattr(performance, "about", lambda *_: "")
    monkeypatch.setattr(performance, "write", lambda *_: None)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 0.0)
    performance.run([], 1, tmp_path)
    assert set(measured) == set(page.PARTS) - {"gpu"}
    assert "not measured: gpu (there is no GPU)" in capsys.readouterr().err


def gpu_rows() -> list[dict[str, Any]]:
    """As on a GPU that makes 10 TFLOP/s, and 50 updates/s at most; one size does not fit."""
    tflop = {"ml45": 0.4, "popgym": 0.8, "atari": 0.5}
    rows: list[dict[str, Any]] = [
        {"measure": "gpu", "size": size, "mode": "float32", "how": "eager"}
        | {"seconds": each / 10 + 1 / 50, "tflop": each, "tflop_per_s": 7.0, "first_s": 1.0}
        for size, each in tflop.items()
    ]
    rows.append({"measure": "gpu", "size": "babyai", "mode": "float32", "how": "eager"})
    rows.append({"measure": "gpu_actors", "count": "64", "mode": "float32", "steps_per_s": 5e3})
    shares = {"gemm": 0.75, "all others": 0.25}
    rows.append({"measure": "profile", "mode": "float32", "shares": shares, "busy": 0.5})
    return rows


def test_the_gpu_part_has_a_table() -> None:
    text = "\n".join(page.gpu(gpu_rows()))
    assert "| `ml45` | float32 | eager | 16.7 | 7.0 | - | - | 1.0 |" in text
    assert "| `babyai` | float32 | eager | does not fit |" in text
    assert "| `gemm` | 75.0% |" in text


def test_the_page_says_what_was_measured() -> None:
    data = json.loads((DOCS / "performance.json").read_text())
    before, after = around(DOCS / "performance.md", performance.COMMAND)
    text = (DOCS / "performance.md").read_text()
    assert text[len(before) : len(text) - len(after)] == (
        f"{begin(performance.COMMAND)}\n\n{page.render(data)}\n\n{END}"
    )
