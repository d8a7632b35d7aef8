"""What import paths of a configuration name: environments, wrappers, parts of an agent."""

import copy
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from amago2.env.failures import told
from amago2.errors import ConfigError, RunError


def imported(path: str, key: str) -> Any:
    """What an import path `module:name` names. `ConfigError`, which names the key, if nothing."""
    module, _, name = path.partition(":")
    found = getattr(module_of(module, f"{key} is {path!r}"), name, None)
    if found is None:
        raise ConfigError(f"{key} is {path!r}: there is no {name} in {module}")
    return found


def module_of(module: str, asked: str) -> Any:
    """Import a module. `ConfigError`, which begins with what is `asked`, if that fails."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{asked}: cannot import {error.name}; install it, or start in the folder that holds "
            "its module"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also `sys.exit`, which would end the run in silence
        raise ConfigError(f"{asked}: {module} cannot be imported: {told(error)}") from None


def misfit_of(made_by: Callable[..., Any], kwargs: Mapping[str, Any], *given: Any) -> str | None:
    """Why a class cannot be called with these arguments; None if it can."""
    try:
        signature = inspect.signature(made_by)
    except ValueError:  # it is written in C
        return None
    try:
        signature.bind(*given, **kwargs)
    except TypeError as error:
        return str(error)
    return None


def make_part(key: str, path: str, kwargs: Mapping[str, Any], *given: Any, **more: Any) -> Any:
    """What the class or function at an import path makes of `given`, `more` and `kwargs`.

    Raises `ConfigError`, which names the configuration's key, if there is none or it takes other
    arguments, and `RunError` if it fails.
    """
    made_by, arguments = imported(path, key), {**more, **copy.deepcopy(dict(kwargs))}
    if not callable(made_by):
        raise ConfigError(f"{key} is {path!r}: it is no class or function")
    if misfit := misfit_of(made_by, arguments, *given):
        raise ConfigError(f"{key} is {path!r}, which cannot be called: {misfit}")
    try:
        return made_by(*given, **arguments)
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RunError(f"{key}: {path}: {told(error)}") from None
