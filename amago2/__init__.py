"""AMAGO-2: one Transformer policy, many tasks, losses without the scale of returns.

The agent, its objectives, replay and training loop. It knows Gymnasium spaces and nothing of any
benchmark. Importing the package loads no heavy library; `train`, `evaluate` and `load` do.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`amago2.load(folder)`, imported when first used."""
    if name == "load":
        from amago2.inference.player import load

        return load
    raise AttributeError(f"module 'amago2' has no attribute {name!r}")
