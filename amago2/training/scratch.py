"""The scratch folder of an unfinished run: where it is, whose it is, and who works on it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amago2.config.schema import RunConfig, load_as
from amago2.errors import ConfigError, RunError


def default_scratch(out: Path) -> Path:
    """Scratch folder of a run that will be published in `out`."""
    return out.with_name(f".{out.name}.scratch")


def check_same_config(config: RunConfig, path: Path) -> None:
    """Raise `ConfigError` unless the configuration stored at `path` is that of the same run."""
    if load_as(type(config), path).hash != config.hash:
        raise ConfigError(
            f"{path.parent}: holds a run of another configuration (see {path}); "
            "choose another folder or delete that one"
        )


@contextmanager
def locked(scratch: Path) -> Iterator[None]:
    """Hold the run's lock, which the end of the process releases, however it ends.

    Raises `RunError` if another process holds it.
    """
    with (scratch / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{scratch}: another process is training this run") from None
        yield
