"""Environments: made from a configuration, stepped together, in this process or in workers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amago2.env.attempts import MultiAttempt
    from amago2.env.mixture import TaskMixture

__all__ = ["MultiAttempt", "TaskMixture"]

_EXPORTS = {"MultiAttempt": "attempts", "TaskMixture": "mixture"}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'amago2.env' has no attribute {name!r}")
    return getattr(import_module(f"amago2.env.{_EXPORTS[name]}"), name)
