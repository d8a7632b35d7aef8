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
    """Raise `ConfigError` unless every module is allowed. `what` of the `run` names them.

    A package that is allowed stands for all of its modules.
    """
    known = list(allowed)
    if asked := [module for module in modules if not any(_within(module, each) for each in known)]:
        raise ConfigError(
            f"{run}: {what}, code that is not part of this project; "
            f"add{allow_options(asked)} if you trust it"
        )


def allow_options(modules: Iterable[str]) -> str:
    """The options of a command that allow these modules, with a blank before each."""
    known = list(modules)
    inner = {one for one in known for other in known if one != other and _within(one, other)}
    return "".join(f" --allow-env {module}" for module in known if module not in inner)


def _within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
