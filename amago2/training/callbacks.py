"""What a user wants to be told of while a run trains: evaluations and checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amago2.env.failures import told
from amago2.env.importing import make_part
from amago2.errors import ConfigError, RunError

METHODS = ("on_evaluation", "on_checkpoint")


class Callbacks:
    """Objects of one's own, each with `on_evaluation`, `on_checkpoint`, or both."""

    def __init__(self, parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        """Make them of import paths and keyword arguments. Raises `ConfigError`."""
        self._made: list[tuple[str, Any]] = []
        for part in parts:
            ((path, kwargs),) = part.items()
            made = make_part("callbacks", path, kwargs)
            if not any(callable(getattr(made, name, None)) for name in METHODS):
                raise ConfigError(f"callbacks: {path} has neither {' nor '.join(METHODS)}")
            self._made.append((path, made))

    def evaluated(self, steps: int, name: str, rows: Sequence[Any]) -> None:
        """Tell of the rows of an evaluation set, after so many environment steps."""
        self._call("on_evaluation", steps, name, rows)

    def saved(self, steps: int, folder: Path) -> None:
        """Tell of a checkpoint."""
        self._call("on_checkpoint", steps, folder)

    def _call(self, method: str, *arguments: Any) -> None:
        for path, made in self._made:
            if (called := getattr(made, method, None)) is None:
                continue
            try:
                called(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise RunError(f"callbacks: {path}.{method}: {told(error)}") from None
