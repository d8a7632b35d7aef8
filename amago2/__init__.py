"""AMAGO-2: one Transformer policy, many tasks, losses without the scale of returns.

The agent, its objectives, replay and training loop. It knows Gymnasium spaces and nothing of any
benchmark. From Python:

    amago2.check_env("my_package.my_module:MyEnv").problems
    amago2.train("my_config.yaml", "runs/first")
    amago2.evaluate("runs/first", allow_env=["my_package.my_module"])
    policy = amago2.load("runs/first")

Importing the package loads no heavy library; `train` and `load` do when they are first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amago2.config.schema import load as load_config
    from amago2.environment_check import check_env
    from amago2.inference.evaluating import evaluate
    from amago2.inference.player import load
    from amago2.training.amago_trainer import train

# Or PyTorch computes some products on a GPU by kernels that a C compiler must build first.
os.environ.setdefault("TORCH_DISABLE_NATIVE_JIT", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "check_env", "evaluate", "load", "load_config", "train"]

_EXPORTS = {
    "check_env": ("amago2.environment_check", "check_env"),
    "evaluate": ("amago2.inference.evaluating", "evaluate"),
    "load": ("amago2.inference.player", "load"),
    "load_config": ("amago2.config.schema", "load"),
    "train": ("amago2.training.amago_trainer", "train"),
}
"""Module and name of what is imported when it is first used."""


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'amago2' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
