"""Counter-based random numbers: each draw depends on the seed, a stream and counters alone.

No generator state has to be saved, and no global generator is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Independent uses of randomness. Append only: a number is part of every result."""

    INIT = 0
    ROLLOUT = 1
    EXPLORATION = 2
    ACTING = 3
    REPLAY = 4
    UPDATE = 5
    EVALUATION = 6
    EVALUATION_ACTING = 7
    EPSILON = 8
    CHUNK = 9
    SHUFFLE = 10
    MEASUREMENT = 11


def _sequence(seed: int, stream: Stream, counters: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *counters))


def integer(seed: int, stream: Stream, *counters: int) -> int:
    """A 31-bit seed for an environment."""
    return int(_sequence(seed, stream, counters).generate_state(1)[0] >> 1)


def numpy_rng(seed: int, stream: Stream, *counters: int) -> np.random.Generator:
    """A fresh NumPy generator."""
    return np.random.default_rng(_sequence(seed, stream, counters))


def torch_rng(
    seed: int, stream: Stream, *counters: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh PyTorch generator on a device."""
    state = _sequence(seed, stream, counters).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Seed PyTorch's initialisers, which use the global generator.

    Its state is restored afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer(seed, Stream.INIT))
        yield
