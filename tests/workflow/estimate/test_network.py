"""Sizes of networks, as estimated and as they are."""

import pytest

from amago2.footprint import memory_bytes
from workflow.bench import workloads
from workflow.estimate import disk, network


@pytest.mark.parametrize("variant", ["ind_actor_ind_critic", "dep_actor_dep_critic"])
@pytest.mark.parametrize("size", workloads.PAPER)
def test_parameters_and_checkpoints_are_those_of_the_agent(size: str, variant: str) -> None:
    """Roughly, since spaces have typical sizes: Atari's images are larger."""
    config = workloads.config(size, variant)
    parameters = dict(workloads.agent(size, config).named_parameters())
    trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
    targets = sum(p.numel() for p in parameters.values() if not p.requires_grad)
    assert network.parameters(config) == pytest.approx(trained, rel=0.1)
    assert network.heads(config) == pytest.approx(targets, rel=0.2)  # 4 to 27 actions, not 12
    checkpoint = 4 * (3 * trained + targets)  # float32; Adam's averages are as large as weights
    checkpoint += memory_bytes(config, config.collector.actors)
    assert disk.estimate(config).checkpoint == pytest.approx(checkpoint, rel=0.1)
