"""Environments from a configuration: names, keyword arguments, wrappers, worker processes."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import gymnasium as gym

from amago2.config.environment import (
    EnvironmentConfig,
    OneEnvironment,
    labels_of,
    registering_module,
)
from amago2.env.failures import report_to_stderr, told
from amago2.env.importing import imported, misfit_of, module_of
from amago2.env.masks import MaskFromInfo
from amago2.env.mixture import TaskMixture
from amago2.env.subprocess_env import SubprocessVectorEnv
from amago2.env.vector_env import Origin, VectorEnv
from amago2.env.vectorized import VectorizedEnv
from amago2.errors import ConfigError, RunError
from amago2.printing import warn

Maker = Callable[..., gym.Env[Any, Any]]


def check_name(config: EnvironmentConfig) -> None:
    """Raise `ConfigError` unless what the configuration names can be imported, and is of use."""
    for one in config.mixture or [config]:
        for wrapper in one.wrappers or ():
            imported(next(iter(wrapper)), "env.wrappers")
        if one.id:
            registered(one.id)
        else:
            maker(one.entry_point or "")
    if config.vectorization is None and is_vectorized(config) and config.processes:
        raise ConfigError(
            f"env.processes is {config.processes}, but {config.name} makes environments that are "
            "stepped together; leave it out"
        )


def maker(entry: str) -> Maker:
    """Import `module:Class` or `module:function`.

    Raises `ConfigError` unless it is a `gymnasium.Env`, a `gymnasium.vector.VectorEnv`, or a
    function.
    """
    found = imported(entry, "env.entry_point")
    if isinstance(found, type) and not issubclass(found, gym.Env | gym.vector.VectorEnv):
        module, _, name = entry.partition(":")
        raise ConfigError(
            f"env.entry_point is {entry!r}: {name} is not a gymnasium.Env of {module} (one of the "
            "older package gym is none)"
        )
    if not callable(found):
        raise ConfigError(
            f"env.entry_point is {entry!r}: it is {type(found).__name__}, and must be a class or "
            "a function that returns an environment"
        )
    return found


def registered(env_id: str) -> gym.envs.registration.EnvSpec:
    """What Gymnasium's registry says of an id. Raises `ConfigError` if it is not registered."""
    asked = f"env.id is {env_id!r}"
    module = registering_module(env_id)
    module_of(module, asked)
    name = env_id.rpartition(":")[2]
    try:
        return gym.spec(name)
    except gym.error.Error as error:
        said, unknown = (
            str(error).rstrip("."),
            (gym.error.NameNotFound, gym.error.NamespaceNotFound),
        )
        if isinstance(error, unknown) and module == "gymnasium":
            said += f"; if another package registers it, name its module, such as my_module:{name}"
        raise ConfigError(f"{asked}: {said}") from None


def _creator(spec: gym.envs.registration.EnvSpec) -> Callable[..., Any]:
    """The class or function of a registered environment."""
    if isinstance(spec.entry_point, str):
        return imported(spec.entry_point, f"the entry point of {spec.id}")
    if spec.entry_point is None:
        raise ConfigError(f"env.id is {spec.id!r}, which can be made with env.vectorization only")
    return spec.entry_point


def is_vectorized(config: OneEnvironment) -> bool:
    """Whether it makes one environment of many that are stepped together."""
    if config.entry_point is None:
        return bool(getattr(config, "vectorization", None))
    made = maker(config.entry_point)
    if isinstance(made, type):
        return issubclass(made, gym.vector.VectorEnv)
    try:
        return "num_envs" in inspect.signature(made).parameters
    except (TypeError, ValueError):  # it is written in C
        return False


def renders(config: OneEnvironment, mode: str) -> bool:
    """Whether what makes the environment can be told to render in this mode.

    It takes `render_mode` by name, or any keyword argument while its metadata lists the mode.
    """
    made_by = _creator(registered(config.id)) if config.id else maker(config.entry_point or "")
    modes = (getattr(made_by, "metadata", None) or {}).get("render_modes")
    if modes is not None and mode not in modes:
        return False
    try:
        taken = inspect.signature(made_by).parameters
    except (TypeError, ValueError):  # it is written in C
        return False
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
    return "render_mode" in taken or (anything and modes is not None)


def make_env(
    config: EnvironmentConfig, eval_set: str | None = None, row: int = 0
) -> gym.Env[Any, Any]:
    """Create one environment, with the keyword arguments of an evaluation set if one is named.

    A class with the attribute `actor_slots = True` is given `slot`, its row among the environments
    stepped together, so that it can restrict itself to some tasks.

    Raises `ConfigError` if the keyword arguments do not fit the class, `RunError` if its simulator
    is missing or its constructor fails.
    """
    given = {**config.kwargs, **(config.eval_sets[eval_set] if eval_set else {})}
    mixed = config.mixture is not None
    env = _make_mixture(config, given) if mixed else _make_one(config, given, row)
    return MaskFromInfo(env) if config.action_mask == "info" else env


def _make_mixture(config: EnvironmentConfig, given: Mapping[str, Any]) -> gym.Env[Any, Any]:
    members = config.mixture or ()
    makers = {}
    for label, member in zip(labels_of(members), members, strict=True):
        makers[label] = partial(_make_one, member, member.kwargs, 0)
    weights = [member.weight for member in members]
    if misfit := given.keys() - {"tasks"}:
        raise ConfigError(
            f"env.kwargs.{min(misfit)}: a mixture takes the argument tasks only; others belong to "
            "the kwargs of its environments"
        )
    env: gym.Env[Any, Any] = TaskMixture(makers, weights, **given)
    for wrapper in config.wrappers or ():
        env = _wrapped(env, wrapper)
    return env


def _make_one(config: OneEnvironment, given: Mapping[str, Any], row: int) -> gym.Env[Any, Any]:
    """One environment with its wrappers, and its own time limit if it is one of a mixture."""
    kwargs = copy.deepcopy(dict(given))  # an environment may change its own, not the configuration
    if config.id:
        spec = registered(config.id)
        creator = _creator(spec)
        if misfit := misfit_of(creator, {**spec.kwargs, **kwargs}):
            raise ConfigError(f"env.kwargs of {config.id}: {misfit}")
        limit = {} if config.max_episode_steps is None else {"max_episode_steps": -1}
        made = partial(gym.make, spec, disable_env_checker=True, **limit)
        env = _called(made, config.id, kwargs)
    else:
        entry = config.entry_point or ""
        made_by = maker(entry)
        if getattr(made_by, "actor_slots", False):
            kwargs.setdefault("slot", row)
        if misfit := misfit_of(made_by, kwargs):
            raise ConfigError(f"env.kwargs {kwargs} do not fit {entry}: {misfit}")
        env = _called(made_by, entry, kwargs)
    if not isinstance(env, gym.Env):
        raise ConfigError(
            f"{config.name} returned a {type(env).__name__}, which is no gymnasium.Env"
        )
    for wrapper in config.wrappers or ():
        env = _wrapped(env, wrapper)
    if config.max_episode_steps is not None and not isinstance(config, EnvironmentConfig):
        env = gym.wrappers.TimeLimit(env, config.max_episode_steps)
    return env


def _wrapped(env: gym.Env[Any, Any], wrapper: Mapping[str, Any]) -> gym.Env[Any, Any]:
    ((path, given),) = wrapper.items()
    made_by = imported(path, "env.wrappers")
    # wrappers are given tuples for lists, which YAML has alone: ResizeObservation takes no list
    kwargs = {
        key: tuple(value) if isinstance(value, list | tuple) else value
        for key, value in copy.deepcopy(dict(given)).items()
    }
    if not callable(made_by) or (misfit := misfit_of(made_by, kwargs, env)):
        said = misfit if callable(made_by) else "it is no class or function"
        raise ConfigError(f"env.wrappers: {path} with {kwargs}: {said}")
    wrapped = _called(partial(made_by, env), path, kwargs, "env.wrappers")
    if not isinstance(wrapped, gym.Env):
        raise ConfigError(
            f"env.wrappers: {path} returned a {type(wrapped).__name__}, which is no gymnasium.Env"
        )
    return wrapped


def _called(made_by: Callable[..., Any], name: str, kwargs: Any, key: str = "env.kwargs") -> Any:
    try:
        return made_by(**kwargs)
    except (ConfigError, KeyboardInterrupt):
        raise
    except (ValueError, gym.error.Error) as error:
        raise ConfigError(f"{key} of {name}: {told(error)}") from None
    except BaseException as error:
        raise RunError(f"{name}, constructor: {told(error)}") from None


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
        config.name if eval_set is None else f"{config.name} of {eval_set!r}",
        max_episode_steps=config.max_episode_steps,
        step_timeout_s=config.step_timeout_s,
        metrics=config.metrics or (),
    )
    if is_vectorized(config):
        check_name(config)
        return VectorizedEnv(partial(_make_vectorized, config, eval_set), count, origin, report)
    if config.processes is None:
        envs = VectorEnv(make, count, origin, report)
    else:
        envs = SubprocessVectorEnv(make, count, config.processes, origin)
    if config.max_episode_steps is None and envs.max_episode_steps is not None:
        _tell_once(
            f"{config.name}: rollouts are truncated after {envs.max_episode_steps} steps, "
            "as in Gymnasium's registry; env.max_episode_steps sets another limit"
        )
    return envs


def _make_row(config: EnvironmentConfig, eval_set: str | None, row: int) -> gym.Env[Any, Any]:
    return make_env(config, eval_set, row)


def _make_vectorized(
    config: EnvironmentConfig, eval_set: str | None, count: int
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Many environments as one, as Gymnasium or its own class makes them."""
    given = {**config.kwargs, **(config.eval_sets[eval_set] if eval_set else {})}
    kwargs = {**copy.deepcopy(given), "num_envs": count}
    if config.id:
        spec = registered(config.id)
        mode = config.vectorization
        own: dict[str, Any] = {"vectorization_mode": mode}
        if mode != "vector_entry_point":
            disabled = gym.vector.AutoresetMode.DISABLED
            own["vector_kwargs"] = {"autoreset_mode": disabled}
        elif spec.vector_entry_point is None:
            raise ConfigError(
                f"env.vectorization is {mode}, but {config.id} has none; use sync or async"
            )
        made: Any = partial(gym.make_vec, spec, **own)
    else:
        made = maker(config.entry_point or "")
        if misfit := misfit_of(made, kwargs):
            raise ConfigError(f"env.kwargs {given} do not fit {config.name}: {misfit}")
    env = _called(made, config.name, kwargs)
    if not isinstance(env, gym.vector.VectorEnv):
        raise ConfigError(
            f"{config.name} takes num_envs, but returned a {type(env).__name__}, which is no "
            "gymnasium.vector.VectorEnv"
        )
    return env


@cache
def _tell_once(sentence: str) -> None:
    warn(f"amago2: {sentence}")
