"""Services that show metrics while a run trains, if asked for: Weights & Biases and MLflow.

TensorBoard's events are always written. A service changes nothing in a run, and a run that is
continued goes on in the same place. Their own variables say where and how: WANDB_MODE=offline,
WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
"""

import importlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from amago2.config.schema import RunConfig
from amago2.errors import ConfigError

NAMES = ("tensorboard", "wandb", "mlflow")


class Tracker(Protocol):
    """What is told of metrics while a run trains."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values by name, at an environment step."""

    def close(self) -> None:
        """Record no more."""


class WandB:
    """A run of Weights & Biases."""

    def __init__(self, config: RunConfig) -> None:
        """Begin or continue the run that is named by the configuration's hash."""
        wandb = _library("wandb")
        project = os.environ.get("WANDB_PROJECT", "amago2")
        name = config.run_name.replace("/", "-")
        self._run = wandb.init(
            project=project, id=name, name=name, resume="allow", config=config.hashed
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`."""
        self._run.log({"env_steps": step, **values})

    def close(self) -> None:
        """See `Tracker.close`."""
        self._run.finish()


class MLflow:
    """A run of MLflow."""

    def __init__(self, config: RunConfig) -> None:
        """Begin or continue the run that is named by the configuration's hash."""
        self._library = mlflow = _library("mlflow")
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            mlflow.set_experiment("amago2")
        name = config.run_name.replace("/", "-")
        known = mlflow.search_runs(
            filter_string=f"tags.mlflow.runName = '{name}'", output_format="list", max_results=1
        )
        self._run = mlflow.start_run(
            run_id=known[0].info.run_id if known else None, run_name=None if known else name
        )
        if not known:
            parameters = dict(_flat(config.hashed))
            for part in range(0, len(parameters), 100):  # which is the most at once
                mlflow.log_params(dict(list(parameters.items())[part : part + 100]))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`; names keep the characters that MLflow allows."""
        named = {"".join(c if c.isalnum() or c in "_-. /" else "_" for c in k): v
                 for k, v in values.items()}  # fmt: skip
        self._library.log_metrics(named, step=step)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._library.end_run()


def make_trackers(names: Iterable[str], config: RunConfig) -> list[Tracker]:
    """The services of these names. `ConfigError` for one that is unknown or not installed."""
    kinds: dict[str, Any] = {"wandb": WandB, "mlflow": MLflow}
    made: list[Tracker] = []
    for name in dict.fromkeys(names):
        if name not in NAMES:
            raise ConfigError(f"--track {name}: must be {', '.join(NAMES[:-1])} or {NAMES[-1]}")
        if name in kinds:
            made.append(kinds[name](config))
    return made


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ConfigError(
            f"--track {name}: the package {name} is not installed; pip install 'amago2[{name}]'"
        ) from None


def _flat(data: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", str(value)[:500]
