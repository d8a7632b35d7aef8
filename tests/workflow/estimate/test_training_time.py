"""Steps, updates, operations and seconds of runs, counted by hand."""

from itertools import pairwise

import pytest

from amago2.config.layers import Layer
from tests.amago2.toy import small
from tests.workflow.estimate.configs import counted, resolved
from workflow.estimate import training_time
from workflow.estimate.hardware import Accelerator, Hardware, Processor
from workflow.estimate.training_time import (
    env_steps,
    estimated_seconds,
    flops_per_update,
    updates,
)

GPU = Accelerator(
    device="toy",
    peak={},
    flops=1e12,
    updates_per_s=50,
    steps_per_s=1000,
    watts=100,
    usd_per_hour=1,
    source="measured: never",
)
PROCESSOR = Processor(
    kernel_s=1, start_s=5, flops=1e10, step_s={"envs.popgym:MultiTaskPOPGym": 0.002}, other_step_s=1
)


@pytest.fixture(autouse=True)
def toy_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Hardware(processor=PROCESSOR, gpus={"toy": GPU})
    monkeypatch.setattr(training_time, "hardware", lambda: table)


def test_steps_and_updates_are_those_of_all_epochs() -> None:
    config = resolved("popgym", "paper")
    assert env_steps(config) == 24 * 1000 * 4200
    assert updates(config) == 1000 * 4200
    late = Layer("test", {"collector": {"warmup_epochs": 200}})
    config = resolved("popgym", "paper", late)
    assert updates(config) == 1000 * 4000


def test_operations_are_those_counted_by_hand() -> None:
    encoder = 40 * 512 + 512 * 256
    layer = 4 * 320**2 + 2 * 320 * 1280 + 256 * 320
    actor = 320 * 256 + 256 * 256 + 256 * 7 * 12
    # The state's product: forward, twice as much backward, and the target's. The rest for each
    # discount: forward and backward of the stored action, the target's action, three samples.
    critic = 4 * 320 * 256 + (3 + 1 + 3) * 7 * (256 * 256 + 256 * 128)
    per_timestep = 3 * (encoder + 256 * 320 + 3 * layer) + 4 * actor + 4 * critic
    assert per_timestep == 33_751_040
    assert flops_per_update(counted()) == 2 * 257 * per_timestep


@pytest.mark.parametrize(
    ("actor", "sampled"), [("policy_gradient", 1 + 2), ("filtered_imitation", 1 + 5)]
)
def test_an_exact_expectation_evaluates_every_action(actor: str, sampled: int) -> None:
    """Forward passes of the critics: four actions for the target and four for the actor.

    Sampled, the target takes one and a policy gradient two, or filtered imitation one a sample.
    """
    agent = {"actor": actor, "critic": "two_hot", "value_samples": 5}
    one, other = (small(agent={**agent, "expectation": kind}) for kind in ("sampled", "exact"))
    a = one.agent
    sizes = [*a.head_hidden_sizes, a.bins]
    forward = len(a.discounts) * sum(x * y for x, y in pairwise(sizes))
    timesteps = one.learner.batch_size * (one.trajectory_encoder.context_length + 1)
    more = flops_per_update(other) - flops_per_update(one)
    assert more == 2 * timesteps * a.num_critics * forward * (4 + 4 - sampled)


def test_operations_grow_with_the_batch() -> None:
    assert flops_per_update(counted(batch_size=24)) == 24 * flops_per_update(counted(batch_size=1))


def test_seconds_are_those_of_updates_and_steps() -> None:
    on_gpu = counted(batch_size=24)
    flops, count = flops_per_update(on_gpu), 4_200_000
    expected = 5 + count * (flops / 1e12 + 1 / 50) + 24 * count / 1000
    assert estimated_seconds(on_gpu) == pytest.approx(expected)
    faster = GPU.model_copy(update={"flops": 2e12})
    expected = 5 + count * (flops / 2e12 + 1 / 50) + 24 * count / 1000
    assert estimated_seconds(on_gpu, faster) == pytest.approx(expected)
    on_cpu = on_gpu.model_copy(update={"device": "cpu", "threads": 2})
    expected = 5 + count * flops / 2e10 + 24 * count * 0.002
    assert estimated_seconds(on_cpu) == pytest.approx(expected)


def test_processes_share_an_update_and_a_collector_may_have_its_own() -> None:
    flops, count = flops_per_update(counted(batch_size=24)), 4_200_000
    learning = count * (flops / 4 / 1e12 + 1 / 50)
    four = counted(batch_size=24, processes=4)
    assert estimated_seconds(four) == pytest.approx(5 + learning + 24 * count / 1000)
    five = counted(asynchronous=True, batch_size=24, processes=4)
    assert estimated_seconds(five) == pytest.approx(5 + max(learning, 24 * count / 1000))
