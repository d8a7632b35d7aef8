"""Memory, GPUs and threads that a run is given."""

from amago2.footprint import learner_bytes
from tests.workflow.estimate.configs import counted, resolved
from workflow.estimate import memory, resources


def test_an_update_keeps_its_activations() -> None:
    """Four bytes each, of 24 sub-sequences of 257 timesteps."""
    per_timestep = 3 * (12 * 320 + 3 * 1280) + 4 * 7 * (2 * 512 + 3 * 128)
    assert learner_bytes(counted(batch_size=24)) == 4 * 24 * 257 * per_timestep + 2**28
    assert learner_bytes(counted(batch_size=24, processes=4)) == 4 * 6 * 257 * per_timestep + 2**28


def test_an_images_activations_count_too() -> None:
    config = resolved("procgen_easy", "paper")
    vectors = config.model_copy(update={"timestep_encoder": counted().timestep_encoder})
    timesteps = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    frame = 16 * (64**2 + 8 * 32**2) + 32 * (32**2 + 8 * 16**2) + 32 * (16**2 + 8 * 8**2)
    assert learner_bytes(config) - learner_bytes(vectors) == 4 * timesteps * frame


def test_every_process_needs_a_gpu_and_memory_of_its_own() -> None:
    one, four = counted(batch_size=24), counted(batch_size=24, processes=4)
    five = counted(asynchronous=True, batch_size=24, processes=4)
    assert [resources.gpus(c) for c in (one, four, five)] == [1, 4, 5]
    assert [resources.threads(c) for c in (one, four, five)] == [1, 4, 5]
    update, quarter = learner_bytes(one), learner_bytes(four)
    assert memory.gpu_bytes(one) == 1.5 * update + 1.5e9
    assert memory.gpu_bytes(four) == 4 * (1.5 * quarter + 1.5e9)
    assert memory.host_bytes(four) == 4 * 4e9
    on_cpu = four.model_copy(update={"device": "cpu"})
    assert (resources.gpus(on_cpu), memory.gpu_bytes(on_cpu)) == (0, 0)
    assert memory.host_bytes(on_cpu) == 4 * (4e9 + 1.5 * quarter)
