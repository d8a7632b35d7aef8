"""What is known of an environment, however it is wrapped: layers, tasks, limits, signatures."""

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from amago2.errors import ConfigError


def layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """An environment and all that it wraps, from the outside."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def check_signatures(env: gym.Env[Any, Any]) -> None:
    """Raise `ConfigError` if `reset` is of the API before Gymnasium 0.26."""
    for layer in layers(env):
        try:
            inspect.signature(layer.reset).bind(seed=0, options=None)
        except TypeError:
            raise ConfigError(
                f"{type(layer).__name__}.reset must take `seed` and "
                "`options` as keyword arguments, as in Gymnasium 0.26 and later"
            ) from None


def tasks_of(env: gym.Env[Any, Any]) -> tuple[str, ...]:
    """The tasks that an environment names, however it is wrapped; empty if it names none.

    Raises `ConfigError` unless they are a list of different names.
    """
    tasks = env.get_wrapper_attr("tasks") if env.has_wrapper_attr("tasks") else ()
    fine = isinstance(tasks, list | tuple) and all(isinstance(name, str) for name in tasks)
    if not fine or len(set(tasks)) != len(tasks) or "" in tasks:
        given = "a method" if callable(tasks) else repr(tasks)[:100]
        raise ConfigError(
            f"{type(env.unwrapped).__name__}.tasks is {given}; it must be a list or tuple of "
            "different names (text), or absent"
        )
    return tuple(tasks)


def registered_limit(env: gym.Env[Any, Any]) -> int | None:
    """Timesteps after which Gymnasium's own registry ends rollouts of this class.

    None if the class is in no registry entry with such a limit, or the limit applies already. Of
    several versions, the newest counts.
    """
    if any(isinstance(layer, gym.wrappers.TimeLimit) for layer in layers(env)):
        return None
    kind = type(env.unwrapped)
    found = [
        spec
        for spec in gym.registry.values()
        if spec.max_episode_steps is not None
        and spec.entry_point in (kind, f"{kind.__module__}:{kind.__name__}")
    ]
    newest = max(found, key=lambda spec: spec.version or 0, default=None)
    return newest.max_episode_steps if newest else None
