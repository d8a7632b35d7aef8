"""The configuration of a stored run, and what code it may name."""

from collections.abc import Sequence
from pathlib import Path

from amago2 import run_record
from amago2.config.layers import Layer
from amago2.config.named_code import modules_of, modules_of_networks, refuse_foreign
from amago2.config.schema import AmagoConfig, load
from amago2.env import present_folder
from amago2.errors import ConfigError
from amago2.training.scratch import default_scratch

TRUSTED = "envs"
"""The package whose environments a stored configuration may name without being asked."""


def config_file(run: Path) -> Path:
    """Where the configuration of a run or checkpoint lies. Raises `ConfigError` if nowhere."""
    for path in (run / "config.yaml", run / "checkpoint" / "config.yaml"):
        if path.exists():
            return path
    unfinished = default_scratch(run)
    if not run.exists() and (unfinished / "config.yaml").exists():
        known = [unfinished / "best", *sorted(unfinished.glob("checkpoints/*"))[-1:]]
        known = [folder for folder in known if (folder / "config.yaml").exists()]
        instead = f", or name {known[0]}" if known else ""
        raise ConfigError(f"{run}: the run is not finished; train it to its end{instead}")
    raise ConfigError(f"{run}: no run or checkpoint here (no config.yaml)")


def stored_config(
    run: Path, allowed: Sequence[str] = (), overrides: Sequence[Layer] = ()
) -> AmagoConfig:
    """Configuration of a stored run, which may name code of trusted and of `allowed` modules only.

    `overrides` are laid over it. Raises `ConfigError`.
    """
    if (run / run_record.NAME).exists():
        run_record.check(run)
    config = load(config_file(run), overrides)
    foreign = foreign_modules(config)
    refuse_foreign(str(run), f"its environment is {config.env.name}", foreign, allowed)
    return config


def foreign_modules(config: AmagoConfig) -> list[str]:
    """What must be allowed to evaluate or play a stored run of this configuration."""
    ours = present_folder.installed(TRUSTED)
    foreign = [
        module
        for module in ([] if config.env.harmless else config.env.modules)
        if not (ours and module.partition(".")[0] == TRUSTED)
    ]
    return foreign + [module for module in modules_of_networks(config) if module not in foreign]


def allow_modules(config: AmagoConfig) -> None:
    """Let what the configuration names be imported."""
    for module in modules_of(config):
        present_folder.allow(module)
