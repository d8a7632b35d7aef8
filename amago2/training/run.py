"""The life of a run, whatever trains it: from its configuration to the published folder."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.schema import RunConfigT
from amago2.errors import ConfigError, RunError
from amago2.files import write_atomically
from amago2.folders import RUN, SCRATCH, claim, clear, is_ours, release
from amago2.training.product_speed import warn_of_slow_precision
from amago2.training.publish import publish, unmark
from amago2.training.scratch import (
    CONTENT,
    check_folders,
    check_same_config,
    default_scratch,
    locked,
)
from amago2.training.stopping import StopRequest
from amago2.training.torch_settings import torch_settings
from amago2.training.trainer import Trainer


def run_trainer(
    make_trainer: Callable[[RunConfigT, Path], Trainer],
    config: RunConfigT,
    out: Path,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    fill: Callable[[Path], None] | None = None,
) -> Path:
    """Train a run, or continue an unfinished one, and publish it in the folder `out`.

    Returns `out`, absolute. A finished run is left alone. `make_trainer` makes the trainer of a
    configuration in the run's scratch folder, which keeps what an interrupted run needs to
    continue. `provenance` is added to the record. `fill` is called with the scratch folder of a run
    that has not begun, to put a checkpoint there.

    Raises `ConfigError` for parameters or folders that cannot work, and `RunError` if another
    process trains this run, the machine is too small, or a loss or weight is not finite (the last
    checkpoint stays). SIGTERM ends the process after the present epoch, with a checkpoint.
    """
    # Absolute, since an environment may change the present folder.
    out, scratch = out.absolute(), (scratch or default_scratch(out)).absolute()
    if os.path.lexists(out / run_record.NAME):
        run_record.check(out)
        check_same_config(config, out / "config.yaml")
        _tidy_up(config, out, scratch)
        return out
    check_folders(out, scratch)
    claim(scratch, SCRATCH)
    with locked(scratch):
        started = (scratch / "config.yaml").exists()
        try:
            if started:
                check_same_config(config, scratch / "config.yaml")
            else:
                clear(scratch, CONTENT - {"lock"})
                if fill:
                    fill(scratch)
            with (
                torch_settings(config),
                StopRequest() as stop,
                closing(make_trainer(config, scratch)) as trainer,
            ):
                warn_of_slow_precision(config)
                write_atomically(scratch / "config.yaml", config.to_yaml())
                started = True
                trainer.resume_or_start()
                trainer.train(stop)
                publish(trainer, out, provenance or {})
        finally:
            if not started:
                release(scratch, SCRATCH, CONTENT)
        release(scratch, SCRATCH, CONTENT)
    return out


def _tidy_up(config: RunConfigT, out: Path, scratch: Path) -> None:
    """Remove what a kill just after publishing left of a finished run, and of no other run."""
    if is_ours(out, RUN):
        unmark(out)
    if is_ours(scratch, SCRATCH) and not scratch.is_symlink():
        with suppress(ConfigError, RunError), locked(scratch):
            if (scratch / "config.yaml").exists():
                check_same_config(config, scratch / "config.yaml")
            release(scratch, SCRATCH, CONTENT)
    elif scratch == default_scratch(out):
        with suppress(OSError):
            scratch.rmdir()  # whose marker alone was deleted before a kill
