"""Environments from a configuration: import path, keyword arguments, worker processes."""

import copy
import importlib
import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import gymnasium as gym

from amago2.config.schema import EnvironmentConfig
from amago2.env.failures import report_to_stderr, told
from amago2.env.subprocess_env import SubprocessVectorEnv
from amago2.env.vector_env import Origin, VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.printing import warn


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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also `sys.exit`, which would end the run in silence
        raise ConfigError(
            f"env.entry_point is {entry!r}: {module} cannot be imported: {told(error)}"
        ) from None
    if found is None:
        raise ConfigError(f"env.entry_point is {entry!r}: there is no {name} in {module}")
    if not (isinstance(found, type) and issubclass(found, gym.Env)):
        raise ConfigError(
            f"env.entry_point is {entry!r}: {name} is not a gymnasium.Env of {module} (one of the "
            "older package gym is none)"
        )
    return found


def make_env(
    config: EnvironmentConfig, eval_set: str | None = None, row: int = 0
) -> gym.Env[Any, Any]:
    """Create one environment, with the keyword arguments of an evaluation set if one is named.

    A class with the attribute `actor_slots = True` is given `slot`, its row among the environments
    stepped together, so that it can restrict itself to some tasks.

    Raises `ConfigError` if the keyword arguments do not fit the class, `RunError` if its simulator
    is missing or its constructor fails.
    """
    entry = config.entry_point
    given = {**config.kwargs, **(config.eval_sets[eval_set] if eval_set else {})}
    kwargs = copy.deepcopy(given)  # an environment may change its own, not the configuration
    env_class = environment_class(entry)
    if getattr(env_class, "actor_slots", False):
        kwargs.setdefault("slot", row)
    if misfit := _misfit(env_class, kwargs):
        raise ConfigError(f"env.kwargs {kwargs} do not fit {entry}: {misfit}")
    try:
        return env_class(**kwargs)
    except ValueError as error:
        raise ConfigError(f"env.kwargs of {entry}: {told(error)}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise RunError(f"{entry}, constructor: {told(error)}") from None


def make_vector_env(
    config: EnvironmentConfig,
    count: int,
    eval_set: str | None = None,
    report: Callable[[str], None] = report_to_stderr,
) -> VectorEnv:
    """Create `count` environments that are stepped together, in `env.processes` worker processes.

    With `eval_set`, those of that evaluation set. `report` is told of one that hangs, after which
    the process ends.
    """
    make = partial(_make_row, config, eval_set)
    origin = Origin(
        config.entry_point if eval_set is None else f"{config.entry_point} of {eval_set!r}",
        max_episode_steps=config.max_episode_steps,
        step_timeout_s=config.step_timeout_s,
    )
    if config.processes is None:
        envs = VectorEnv(make, count, origin, report)
    else:
        envs = SubprocessVectorEnv(make, count, config.processes, origin)
    if config.max_episode_steps is None and envs.max_episode_steps is not None:
        _tell_once(
            f"{config.entry_point}: rollouts are truncated after {envs.max_episode_steps} steps, "
            "as in Gymnasium's registry; env.max_episode_steps sets another limit"
        )
    return envs


def _make_row(config: EnvironmentConfig, eval_set: str | None, row: int) -> gym.Env[Any, Any]:
    return make_env(config, eval_set, row)


def _misfit(env_class: Callable[..., Any], kwargs: dict[str, Any]) -> str | None:
    """Why a class cannot be called with these keyword arguments; None if it can."""
    try:
        signature = inspect.signature(env_class)
    except ValueError:  # it is written in C
        return None
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        return str(error)
    return None


@cache
def _tell_once(sentence: str) -> None:
    warn(f"amago2: {sentence}")
