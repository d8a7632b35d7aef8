"""The choice of trajectory encoder: `forward` reads whole sequences, `step` one timestep."""

from amago2.config.networks import (
    FeedForwardConfig,
    GruConfig,
    OwnTrajectoryEncoderConfig,
    TrajectoryEncoderConfig,
)
from amago2.nets.key_value_cache import KeyValueCache
from amago2.nets.memoryless import Memoryless
from amago2.nets.own_trajectory_encoder import OwnTrajectoryEncoder
from amago2.nets.recurrent import Gru, HiddenState
from amago2.nets.transformer import Transformer

Memory = KeyValueCache | HiddenState
TrajectoryEncoder = Transformer | Gru | Memoryless | OwnTrajectoryEncoder


def make_trajectory_encoder(inputs: int, config: TrajectoryEncoderConfig) -> TrajectoryEncoder:
    """The configured trajectory encoder for timestep vectors of size `inputs`."""
    if isinstance(config, OwnTrajectoryEncoderConfig):
        return OwnTrajectoryEncoder(inputs, config)
    if isinstance(config, GruConfig):
        return Gru(inputs, config)
    if isinstance(config, FeedForwardConfig):
        return Memoryless(inputs, config)
    return Transformer(inputs, config)
