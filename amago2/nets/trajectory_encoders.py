"""The configured trajectory encoder: they all read sequences with `forward`, acting with `step`."""

from amago2.config.schema import FeedForwardTrajectory, GruTrajectory, TransformerTrajectory
from amago2.nets.recurrent import Gru, HiddenState, MemoryFree
from amago2.nets.transformer import KeyValueCache, Transformer

Memory = KeyValueCache | HiddenState
Trunk = Transformer | Gru | MemoryFree


def make_trunk(
    inputs: int, config: TransformerTrajectory | GruTrajectory | FeedForwardTrajectory
) -> Trunk:
    """A trajectory encoder for timestep vectors of size `inputs`."""
    if isinstance(config, GruTrajectory):
        return Gru(inputs, config)
    if isinstance(config, FeedForwardTrajectory):
        return MemoryFree(inputs, config)
    return Transformer(inputs, config)
