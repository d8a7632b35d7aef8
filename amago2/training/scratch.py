"""The scratch folder of an unfinished run: where it is, whose it is, and who works on it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amago2.config.schema import RunConfig, load_as
from amago2.config.validation import differences
from amago2.errors import ConfigError, RunError
from amago2.folders import RUN, SCRATCH, check_free
from amago2.run_record import FILES

CONTENT = {*FILES, "lock", "progress.json", "continued_from.json", "initial_weights.json"}
CONTENT |= {"checkpoints", "checkpoint.partial", "best", "data", "replay", "tensorboard"}
"""Names of all that a run writes into its scratch folder."""


def default_scratch(out: Path) -> Path:
    """Scratch folder of a run that will be published in `out`."""
    return out.parent / f".{out.absolute().name}.scratch"


def check_folders(out: Path, scratch: Path) -> None:
    """Raise `ConfigError` unless a run may be made in these folders.

    Nothing of anybody else is in them, and both can be written to.
    """
    if scratch.is_symlink():
        raise ConfigError(f"{scratch}: is a link; name the folder itself as the scratch folder")
    real_out, real_scratch = out.resolve(), scratch.resolve()
    for folder, real, marker in ((out, real_out, RUN), (scratch, real_scratch, SCRATCH)):
        home = os.environ.get("HOME", "/")
        if any(Path(place).resolve().is_relative_to(real) for place in (Path.cwd(), home)):
            raise ConfigError(
                f"{folder}: is the present or the home folder, or a folder around it; name a "
                "folder for this run alone, which does not exist yet"
            )
        check_free(folder, marker)
        _check_writable(folder)
    if real_out.is_relative_to(real_scratch) or real_scratch.is_relative_to(real_out):
        raise ConfigError(
            f"{scratch}: the scratch folder must lie neither in nor around the run's own, {out}; "
            "leave it out, or name another"
        )


def _check_writable(folder: Path) -> None:
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ConfigError(f"{folder}: cannot be made, as {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written to, as you may not write to {nearest}")


def check_same_config(config: RunConfig, path: Path) -> None:
    """Raise `ConfigError` unless the configuration stored at `path` is that of the same run."""
    stored = load_as(type(config), path)
    if stored.hash == config.hash:
        return
    differing = "; ".join(differences(stored.hashed, config.hashed)[:4])
    raise ConfigError(
        f"{path.parent}: holds a run of another configuration (see {path}): {differing}; give "
        "that run's values, choose another folder, or delete that one"
    )


@contextmanager
def locked(scratch: Path) -> Iterator[None]:
    """Hold the run's lock, which the end of the process releases, however it ends.

    Raises `RunError` if another process holds it.
    """
    path = scratch / "lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{scratch}: another process is training this run") from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise RunError(f"{scratch}: another process has just ended this run; try again")
        yield
