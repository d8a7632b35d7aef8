"""Environments from a configuration: import path, keyword arguments, worker processes."""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym

from amago2.config.schema import EnvironmentConfig
from amago2.env.subprocess_env import SubprocessVectorEnv
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError


def environment_class(entry: str) -> Callable[..., gym.Env[Any, Any]]:
    """Import `module:Class`. Raises `ConfigError` unless it is a `gymnasium.Env`."""
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"env.entry_point is {entry!r}: cannot import {error.name}; install it, or start in "
            "the folder that holds its module"
        ) from None
    if not (isinstance(found, type) and issubclass(found, gym.Env)):
        raise ConfigError(
            f"env.entry_point is {entry!r}: {name} is not a gymnasium.Env of {module}"
        )
    return found


def make_env(
    config: EnvironmentConfig, eval_set: str | None = None, row: int = 0
) -> gym.Env[Any, Any]:
    """Create one environment, with the keyword arguments of an evaluation set if one is named.

    A class whose constructor takes `slot` gets its row among the environments stepped together, so
    that it can restrict itself to some tasks.

    Raises `ConfigError` if the keyword arguments do not fit the class, `RunError` if its simulator
    is missing.
    """
    kwargs = {**config.kwargs, **(config.eval_sets[eval_set] if eval_set else {})}
    try:
        env_class = environment_class(config.entry_point)
        if "slot" in inspect.signature(env_class).parameters:
            kwargs["slot"] = row
        return env_class(**kwargs)
    except ConfigError:
        raise
    except TypeError as error:
        raise ConfigError(f"env.kwargs {kwargs} do not fit {config.entry_point}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"env.kwargs of {config.entry_point}: {error}") from None
    except (ImportError, RuntimeError) as error:
        raise RunError(f"{config.entry_point}: {error}") from None


def make_vector_env(
    config: EnvironmentConfig, count: int, eval_set: str | None = None
) -> VectorEnv:
    """Create `count` environments that are stepped together, in `env.processes` worker processes.

    With `eval_set`, those of that evaluation set.
    """
    make = partial(_make_row, config, eval_set)
    if config.processes is None:
        return VectorEnv(make, count)
    return SubprocessVectorEnv(make, count, config.processes)


def _make_row(config: EnvironmentConfig, eval_set: str | None, row: int) -> gym.Env[Any, Any]:
    return make_env(config, eval_set, row)
