"""The choice of trajectory encoder: `forward` reads whole sequences, `step` one timestep."""

from amago2.config.schema import FeedForwardConfig, GruConfig, TransformerConfig
from amago2.nets.key_value_cache import KeyValueCache
from amago2.nets.memoryless import Memoryless
from amago2.nets.recurrent import Gru, HiddenState
from amago2.nets.transformer import Transformer

Memory = KeyValueCache | HiddenState
TrajectoryEncoder = Transformer | Gru | Memoryless


def make_trajectory_encoder(
    inputs: int, config: TransformerConfig | GruConfig | FeedForwardConfig
) -> TrajectoryEncoder:
    """The configured trajectory encoder for timestep vectors of size `inputs`."""
    if isinstance(config, GruConfig):
        return Gru(inputs, config)
    if isinstance(config, FeedForwardConfig):
        return Memoryless(inputs, config)
    return Transformer(inputs, config)
