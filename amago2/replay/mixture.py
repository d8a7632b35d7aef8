"""Batches from several replays at once: the run's own, and those that others collected."""

from collections.abc import Sequence

import numpy as np

from amago2.env.spaces import Array
from amago2.replay.buffer import Replay


class Mixture:
    """Replays of equal records, of which each gives its share of every batch."""

    def __init__(self, replays: Sequence[Replay], shares: Sequence[float]) -> None:
        """`shares` are positive and add up to 1."""
        self.replays, self.shares = list(replays), np.array(shares)
        self._ends = np.cumsum(self.shares)
        self._ends[-1] = 1.0

    def __len__(self) -> int:
        """Trajectories; 0 while one of the replays has none, so that no batch can be sampled."""
        lengths = [len(replay) for replay in self.replays]
        return sum(lengths) if all(lengths) else 0

    @property
    def tasks(self) -> list[str]:
        """Labels of all tasks."""
        return list(dict.fromkeys(task for replay in self.replays for task in replay.tasks))

    def sample(self, rng: np.random.Generator, batch: int, context: int) -> tuple[Array, Array]:
        """See `Replay.sample`; rows of one replay lie together."""
        parts = [
            replay.sample(own, count, context) for replay, own, count in self._counts(rng, batch)
        ]
        records, lengths = zip(*parts, strict=True)
        return np.concatenate(records), np.concatenate(lengths)

    def _counts(
        self, rng: np.random.Generator, batch: int
    ) -> list[tuple[Replay, np.random.Generator, int]]:
        """Replays that a batch has rows of, each with its own generator, and how many.

        A share that is no whole number of rows is rounded up or down by chance, so that it is
        exact on average.
        """
        first, *own = rng.spawn(1 + len(self.replays))
        ends = np.floor(self._ends * batch + first.random()).astype(np.int64)
        counts = np.diff(ends, prepend=0).tolist()
        return [each for each in zip(self.replays, own, counts, strict=True) if each[2]]

    def sampled_tasks(self, rng: np.random.Generator, batch: int) -> Array:
        """See `Replay.sampled_tasks`."""
        position = {task: i for i, task in enumerate(self.tasks)}
        found = []
        for replay, own, count in self._counts(rng, batch):
            positions = np.array([position[task] for task in replay.tasks])
            found.append(positions[replay.sampled_tasks(own, count)])
        return np.concatenate(found)

    def task_shares(self) -> dict[str, float]:
        """Share of timesteps by task, each replay counting by its share of batches."""
        found = dict.fromkeys(self.tasks, 0.0)
        for replay, share in zip(self.replays, self.shares.tolist(), strict=True):
            for task, part in replay.task_shares().items():
                found[task] += share * part
        return found
