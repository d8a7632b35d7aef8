"""The code that a configuration names, and what of it may run without being asked."""

from collections.abc import Iterable, Iterator

from amago2.config.networks import OwnEncoderConfig, OwnTrajectoryEncoderConfig
from amago2.config.schema import AmagoConfig
from amago2.errors import ConfigError


def modules_of_networks(config: AmagoConfig) -> list[str]:
    """Modules that are imported to make the agent."""
    parts = (config.timestep_encoder, config.trajectory_encoder)
    own = [p for p in parts if isinstance(p, OwnEncoderConfig | OwnTrajectoryEncoderConfig)]
    return list(dict.fromkeys(_module(part.entry_point) for part in own))


def modules_of(config: AmagoConfig) -> list[str]:
    """Modules that are imported to train: of the environment, the agent, and what is told."""
    return list(dict.fromkeys(_modules(config)))


def _modules(config: AmagoConfig) -> Iterator[str]:
    yield from config.env.modules
    yield from modules_of_networks(config)
    if config.collector.exploration.entry_point:
        yield _module(config.collector.exploration.entry_point)
    for part in config.callbacks or ():
        yield from map(_module, part)


def _module(path: str) -> str:
    return path.partition(":")[0]


def refuse_foreign(run: str, what: str, modules: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise `ConfigError` unless every module is allowed. `what` of the `run` names them."""
    known = set(allowed)
    if asked := [module for module in modules if module not in known]:
        raise ConfigError(
            f"{run}: {what}, code that is not part of this project; "
            f"add --allow-env {' --allow-env '.join(asked)} if you trust it"
        )
