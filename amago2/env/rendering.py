"""Environments that render, whatever they were trained with."""

from typing import Any

from amago2.config.environment import EnvironmentConfig, OneEnvironment
from amago2.env.make import renders

PICTURES = "rgb_array"


def rendered(config: EnvironmentConfig, mode: str | None) -> EnvironmentConfig:
    """The same environment in this process, made with the keyword argument `render_mode`.

    If no mode is asked for, the configured one stays, and otherwise is that of pictures, if the
    environment takes the argument: see `renders`.
    """
    changes: dict[str, Any] = {"processes": None}
    if config.mixture:
        members = [m.model_copy(update=_changes(m, mode)) for m in config.mixture]
        changes["mixture"] = tuple(members)
    else:
        changes |= {"vectorization": None, **_changes(config, mode)}
    return config.model_copy(update=changes)


def _changes(config: OneEnvironment, mode: str | None) -> dict[str, Any]:
    wanted = mode or config.kwargs.get("render_mode") or PICTURES
    if mode is None and not renders(config, wanted):
        return {}
    return {"kwargs": {**config.kwargs, "render_mode": wanted}}
