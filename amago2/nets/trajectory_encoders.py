"""The configured trajectory encoder: they all read sequences with `forward`, acting with `step`."""

from amago2.config.schema import FeedForwardConfig, GruConfig, TransformerConfig
from amago2.nets.recurrent import Gru, HiddenState, MemoryFree
from amago2.nets.transformer import KeyValueCache, Transformer

Memory = KeyValueCache | HiddenState
Trunk = Transformer | Gru | MemoryFree


def make_trunk(inputs: int, config: TransformerConfig | GruConfig | FeedForwardConfig) -> Trunk:
    """A trajectory encoder for timestep vectors of size `inputs`."""
    if isinstance(config, GruConfig):
        return Gru(inputs, config)
    if isinstance(config, FeedForwardConfig):
        return MemoryFree(inputs, config)
    return Transformer(inputs, config)
