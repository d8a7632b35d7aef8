"""Memory and GPUs that a run is given, beside what PyTorch's allocator said of it."""

import csv
from pathlib import Path

import pytest

from amago2.config.layers import Layer
from amago2.footprint import Shapes, update_bytes
from tests.workflow.estimate.configs import PARAMS, counted, resolved
from workflow.estimate import memory, resources

MEASURED = Path(__file__).with_name("measured_memory.csv")
"""GiB at the peak of updates on CUDA, with weights, the optimiser and the memories of all actors.

Measured with the CUDA build of PyTorch 2.13 and its caching allocator over a driver that computes
nothing, which stands for an A100: nine updates with the paper's batch, all timesteps valid in three
of them, then from half of a sub-sequence to all of it. CUDA's context is not in it.
"""
VECTORS = Shapes(record_bytes=200, actions=4)


@pytest.mark.parametrize(
    "row", list(csv.DictReader(MEASURED.open())), ids=lambda row: "-".join([*row.values()][:3])
)
def test_estimates_agree_with_what_was_allocated(row: dict[str, str]) -> None:
    precision = row["precision"] if row["precision"] != "float32" else None
    over = Layer("test", {"device": "cuda", "learner": {"precision": precision}})
    config = PARAMS.resolve(row["benchmark"], row["variant"], "paper", 0, [over])
    allocated = memory.allocated_bytes(config)
    assert allocated / 2**30 == pytest.approx(float(row["allocated_gib"]), rel=0.15)
    taken = float(row["reserved_gib"]) * 2**30 + memory.CUDA_BYTES
    assert 0.93 * taken < memory.gpu_bytes(config) < 1.25 * taken


def test_an_update_keeps_its_activations() -> None:
    """Four bytes each, of 24 sub-sequences of 257 timesteps; action values come on top on a GPU."""
    per_timestep = 3 * (12 * 320 + 3 * 1280) + 2 * 512 + 4 * 7 * (512 + 3 * 128)
    samples = 3 * 4 * 7 * (3 * 256 + 1.5 * 128)
    for processes, parts, sequences in ((None, None, 24), (4, None, 6), (None, 3, 8), (4, 2, 3)):
        config = counted(batch_size=24, processes=processes, gradient_accumulation=parts)
        found = [update_bytes(config, VECTORS, in_one_pass=each) for each in (False, True)]
        timesteps = 4 * sequences * 257
        assert found == [
            timesteps * per_timestep + 2**26,
            timesteps * (per_timestep + samples) + 2**26,
        ]


def test_an_images_activations_count_unless_they_are_recomputed() -> None:
    shapes = VECTORS._replace(image=(64, 64, 3))
    config = resolved("procgen_easy", "paper")
    vectors = config.model_copy(update={"timestep_encoder": counted().timestep_encoder})
    parts = Layer("test", {"timestep_encoder": {"recompute_frames": 512}})
    recomputed = resolved("procgen_easy", "paper", parts)
    kept, without, fewer = (
        update_bytes(each, shapes, in_one_pass=False) for each in (config, vectors, recomputed)
    )
    timesteps = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    frame = 16 * (64**2 + 13 * 31**2) + 32 * (31**2 + 13 * 15**2) + 32 * (15**2 + 13 * 7**2)
    assert kept - without == 4 * timesteps * (frame - 2 * 512)
    assert fewer < 0.25 * kept


def test_every_process_needs_a_gpu_and_memory_of_its_own() -> None:
    one, four = counted(batch_size=24), counted(batch_size=24, processes=4)
    five = counted(asynchronous=True, batch_size=24, processes=4)
    assert [resources.gpus(c) for c in (one, four, five)] == [1, 4, 5]
    assert [resources.threads(c) for c in (one, four, five)] == [1, 4, 5]
    quarter = memory.allocated_bytes(four)
    assert memory.allocated_bytes(one) > 2 * quarter
    assert memory.gpu_bytes(four) == int(4 * (memory.HELD * quarter + memory.CUDA_BYTES))
    on_cpu = four.model_copy(update={"device": "cpu"})
    assert (resources.gpus(on_cpu), memory.gpu_bytes(on_cpu)) == (0, 0)
