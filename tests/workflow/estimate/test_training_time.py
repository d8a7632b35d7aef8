"""Steps, updates, operations and seconds of runs, counted by hand."""

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from amago2.config.layers import Layer
from tests.amago2.toy import small
from tests.workflow.estimate.configs import PARAMS, counted, resolved
from workflow.estimate import training_time
from workflow.estimate.hardware import Accelerator, Hardware, Host, Processor
from workflow.estimate.training_time import (
    MOST_WORKERS,
    env_steps,
    estimated_seconds,
    flops_per_update,
    step_seconds,
    update_seconds,
    updates,
    workers,
)

COUNTED = Path(__file__).with_name("counted_flops.csv")
"""Of an update with the paper's batch, all timesteps valid, on tensors without content: by
PyTorch's `FlopCounterMode`, which counts matrix products, convolutions and attention."""
GPU = Accelerator(
    device="toy",
    memory=1e10,
    peak={"float32": 1e12, "tfloat32": 4e12},
    bandwidth=1e12,
    flops={"tfloat32": 1e12},
    watts=100,
    usd_per_hour=1,
    source="measured: never",
)
PROCESSOR = Processor(
    kernel_s=1, start_s=5, flops=1e10, step_s={"envs.popgym:MultiTaskPOPGym": 0.002}, other_step_s=1
)
HOST = Host(
    update_s=0.02,
    act_s=0.01,
    batch_bytes_per_s=1e9,
    step_s={"envs.popgym:MultiTaskPOPGym": 0.002},
    other_step_s=1,
)


@pytest.fixture(autouse=True)
def toy_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Hardware(processor=PROCESSOR, host=HOST, gpus={"toy": GPU})
    monkeypatch.setattr(training_time, "hardware", lambda: table)


def test_steps_and_updates_are_those_of_all_epochs() -> None:
    config = resolved("popgym", "paper")
    assert env_steps(config) == 24 * 1000 * 4200
    assert updates(config) == 1000 * 4200
    late = Layer("test", {"collector": {"warmup_epochs": 200}})
    config = resolved("popgym", "paper", late)
    assert updates(config) == 1000 * 4000
    data = Layer("test", {"data": [{"replay": "runs/first", "share": 1}]})
    config = resolved("popgym", "paper", data)
    assert (env_steps(config), updates(config)) == (0, 1000 * 4200)


def test_operations_are_those_counted_by_hand() -> None:
    encoder = 40 * 512 + 512 * 256
    layer = 4 * 320**2 + 2 * 320 * 1280 + 256 * 320
    actor = 320 * 256 + 256 * 256 + 256 * 7 * 27
    # The state's product: forward, twice as much backward, and the target's. The rest for each
    # discount: forward and backward of the stored action, the target's action, three samples.
    critic = 4 * 320 * 256 + (3 + 1 + 3) * 7 * (256 * 256 + 256 * 128)
    per_timestep = 3 * (encoder + 256 * 320 + 3 * layer) + 4 * actor + 4 * critic
    assert flops_per_update(counted()) == 2 * 257 * per_timestep


@pytest.mark.parametrize(
    ("actor", "sampled"), [("policy_gradient", 1 + 2 * 5), ("filtered_imitation", 1 + 5)]
)
def test_an_exact_expectation_evaluates_every_action(actor: str, sampled: int) -> None:
    """Forward passes of the critics: 12 actions for the target and 12 for the actor.

    Sampled, the target takes one, and the actor one a sample; a policy gradient goes back, too.
    """
    agent = {"actor": actor, "critic": "two_hot", "value_samples": 5}
    one, other = (small(agent={**agent, "expectation": kind}) for kind in ("sampled", "exact"))
    a = one.agent
    sizes = [*a.head_hidden_sizes, a.bins]
    forward = len(a.discounts) * sum(x * y for x, y in pairwise(sizes))
    timesteps = one.learner.batch_size * (one.trajectory_encoder.context_length + 1)
    more = flops_per_update(other) - flops_per_update(one)
    assert more == 2 * timesteps * a.num_critics * forward * (12 + 12 - sampled)


@pytest.mark.parametrize(
    "row",
    list(csv.DictReader(COUNTED.open())),
    ids=lambda row: f"{row['benchmark']}-{row['variant']}",
)
def test_operations_are_those_that_pytorch_counts(row: dict[str, str]) -> None:
    config = PARAMS.resolve(row["benchmark"], row["variant"], "paper")
    assert flops_per_update(config) == pytest.approx(float(row["flops"]), rel=0.15)


def test_operations_grow_with_the_batch() -> None:
    assert flops_per_update(counted(batch_size=24)) == 24 * flops_per_update(counted(batch_size=1))


def test_seconds_are_those_of_updates_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_time, "evaluation_steps", lambda config: 1600.0)
    on_gpu = counted(batch_size=24)
    flops, count = flops_per_update(on_gpu), 4_200_000
    # 24 environments on one core, and 16 that evaluate 1,600 steps.
    stepping = count * (0.01 + 24 * 0.002) + 100 * (0.01 + 16 * 0.002)
    assert workers(on_gpu) == 1
    assert estimated_seconds(on_gpu) == pytest.approx(5 + count * flops / 1e12 + stepping)
    faster = GPU.model_copy(update={"flops": {"tfloat32": 1e15}})
    assert estimated_seconds(on_gpu, faster) == pytest.approx(5 + count * 0.02 + stepping)
    on_cpu = on_gpu.model_copy(update={"device": "cpu", "threads": 2})
    expected = 5 + count * flops / 2e10 + 24 * count * 0.002
    assert estimated_seconds(on_cpu) == pytest.approx(expected)


def test_the_rate_is_that_of_the_precision_and_of_the_memory() -> None:
    """Half of the peak rate, and 0.065 or 0.045 bytes an operation at 1 TB/s."""
    config = counted(batch_size=24, precision="bfloat16")
    assert GPU.rate("tfloat32") == 1e12
    assert GPU.rate("float32") == pytest.approx(1 / (2e-12 + 0.065e-12))
    assert GPU.rate("bfloat16") == GPU.rate("float32")  # a card without it
    both = GPU.model_copy(update={"peak": {"float32": 1e12, "bfloat16": 8e12}})
    assert both.rate("bfloat16") == pytest.approx(1 / (0.25e-12 + 0.045e-12))
    assert update_seconds(config, both) == pytest.approx(flops_per_update(config) * 0.295e-12)


def test_a_batch_of_images_may_take_longest() -> None:
    config = resolved("procgen_easy", "paper")
    record = 64 * 64 * 3 + 2 + 4 + 1 + 4
    fast = GPU.model_copy(update={"flops": {"tfloat32": 1e15}})
    assert update_seconds(config, fast) == pytest.approx(24 * 129 * record / 1e9)


def test_environments_get_the_cores_that_keep_them_from_being_waited_for() -> None:
    """60 steps an update of ML45: in a quarter of its time, if 11 cores suffice for that."""
    config = resolved("ml45", "paper")
    share = [
        env_steps(config) / 40 * step_seconds(config, 40, cores)
        / (updates(config) * update_seconds(config, GPU))
        for cores in (workers(config) - 1, workers(config))
    ]  # fmt: skip
    assert workers(config) == MOST_WORKERS or share[0] > 0.25 >= share[1]
    assert workers(counted(batch_size=24)) == 1


def test_processes_share_an_update_and_a_collector_may_have_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_time, "evaluation_steps", lambda config: 0.0)
    flops, count = flops_per_update(counted(batch_size=24)), 4_200_000
    four = counted(batch_size=24, processes=4)
    learning = count * flops / 4 / 1e12
    stepping = count * (0.01 + 0.002 * -(-24 // workers(four)))
    assert estimated_seconds(four) == pytest.approx(5 + learning + stepping)
    five = counted(asynchronous=True, batch_size=24, processes=4)
    assert estimated_seconds(five) == pytest.approx(5 + max(learning, stepping))
