"""Batches of sub-sequences: records as they are sampled from replay -> tensors for the agent."""

import numpy as np
import torch

from amago2.agent.batch import Batch
from amago2.env.spaces import ActionSpec, Array


def shuffle_rewards(records: Array, lengths: Array, rng: np.random.Generator) -> None:
    """Permute, in place, the rewards of the valid transitions of records (B, L) over all of them.

    Rewards keep their distribution and lose all relation to task, state and action. Each
    sub-sequence's first token keeps its own: it is of no transition.
    """
    rewards = records["reward"][:, 1:]
    valid = np.arange(1, records.shape[1]) < lengths[:, None]
    rewards[valid] = rewards[valid][rng.permutation(np.count_nonzero(valid))]


def make_batch(records: Array, lengths: Array, actions: ActionSpec) -> Batch:
    """A batch of records (B, L), of which the first `lengths` (B,) of each row are valid.

    It is no longer than the longest of them.
    """
    records = records[:, : lengths.max()]

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(records[name]))

    names = [name for name in records.dtype.names or () if name.startswith("observation.")]
    valid = torch.arange(records.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
    return Batch(
        {name.removeprefix("observation."): tensor(name) for name in names},
        tensor("reward"),
        torch.from_numpy(actions.represent(records["action"])),
        tensor("terminated"),
        tensor("time").long(),
        valid,
    )
