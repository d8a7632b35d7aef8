"""AMAGO-2: one Transformer policy, many tasks, losses without the scale of returns.

The agent, its objectives, replay and training loop. It knows Gymnasium spaces and nothing of any
benchmark. Importing the package loads no heavy library; `train`, `evaluate` and `load` do.
"""

__version__ = "0.1.0"
