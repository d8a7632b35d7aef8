"""Rollouts become trajectories: whole ones, or chunks of long ones."""

from itertools import pairwise

from amago2.agent.agent import make_agent
from amago2.env.make import make_vector_env
from amago2.env.spaces import Array
from amago2.rollout.collector import Collector
from tests.amago2.toy import LENGTH, small


class Stored:
    """Keeps the trajectories that a collector stores."""

    def __init__(self) -> None:
        self.trajectories: list[Array] = []

    def add(self, tokens: Array, task: str) -> None:
        self.trajectories.append(tokens.copy())


def collected(steps: int, **over: object) -> list[Array]:
    """What one actor stores in `steps` steps."""
    config = small(collector={"actors": 1, "steps_per_epoch": steps}, **over)
    envs, store = make_vector_env(config.env, 1), Stored()
    collector = Collector(config, envs, make_agent(config, envs.observations, envs.actions), store)
    collector.reset()
    assert len(collector.collect(0)) == sum(one["time"][0] == 0 for one in store.trajectories)
    return store.trajectories


def test_a_rollout_that_ends_is_one_trajectory() -> None:
    trajectories = collected(3 * LENGTH)
    assert [one["time"].tolist() for one in trajectories] == [list(range(LENGTH + 1))] * 3
    assert all(one["action"][0] == -1 for one in trajectories)


def test_chunks_of_a_long_rollout_share_their_ends() -> None:
    """Each begins with the last token of the one before; their lengths vary about the wish."""
    env, replay = {"entry_point": "tests.amago2.toy:Endless"}, {"chunk_length": 4, "capacity": 60}
    chunks = collected(5 * 12, env=env, replay=replay)
    assert len(chunks) > 5
    for one, other in pairwise(chunks):
        if other["time"][0] == 0:
            assert one["time"][-1] == 12
        else:
            assert one[-1] == other[0]
    for one in chunks:
        assert one["time"].tolist() == list(range(one["time"][0], one["time"][-1] + 1))
    lengths = {len(one) - 1 for one in chunks}
    assert len(lengths) > 1
    assert max(lengths) <= 7
