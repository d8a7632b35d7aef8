"""The life of a run, whatever trains it: from its configuration to the published folder."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from amago2.config.schema import RunConfigT
from amago2.files import refuse_foreign, write_atomically
from amago2.training.publish import PUBLISHED, publish
from amago2.training.scratch import check_same_config, default_scratch, locked
from amago2.training.torch_settings import torch_settings
from amago2.training.trainer import Trainer


def run_trainer(
    make_trainer: Callable[[RunConfigT, Path], Trainer],
    config: RunConfigT,
    out: Path,
    scratch: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Train a run, or continue an unfinished one, and publish it in the folder `out`.

    Returns `out`. A finished run is left alone. `make_trainer` makes the trainer of a configuration
    in the run's scratch folder, which is on the same file system as `out` and keeps what an
    interrupted run needs to continue. `provenance` is added to the record.

    Raises `ConfigError` for parameters that cannot work, and `RunError` if another process trains
    this run, the machine is too small, or a loss or weight is not finite (the last checkpoint
    stays).
    """
    scratch = scratch or default_scratch(out)
    if (out / "record.json").exists():
        check_same_config(config, out / "config.yaml")
        shutil.rmtree(scratch, ignore_errors=True)
        return out
    refuse_foreign(out, PUBLISHED)
    scratch.mkdir(parents=True, exist_ok=True)
    with locked(scratch):
        started = (scratch / "config.yaml").exists()
        if started:
            check_same_config(config, scratch / "config.yaml")
        try:
            with torch_settings(config), closing(make_trainer(config, scratch)) as trainer:
                write_atomically(scratch / "config.yaml", config.to_yaml())
                started = True
                trainer.resume_or_start()
                trainer.train()
                publish(trainer, out, provenance or {})
        finally:
            if not started:
                shutil.rmtree(scratch)
        shutil.rmtree(scratch)
    return out
