"""Returns of a uniformly random policy, task by task: `python -m workflow random-returns`.

The zero of normalised scores. Actions are uniform over the environment's own action space. For
POPGym this is the padded one, where an action that a task does not have is replaced by a uniform
draw from those it has: with n of 27 valid, each is taken with probability
1/27 + (27 - n)/27 * 1/n = 1/n, so that the policy is also uniform over the task's own actions.
"""

from __future__ import annotations

import csv
import importlib
import io
from importlib.metadata import version
from pathlib import Path

import numpy as np

from amago2.errors import ConfigError, RunError
from amago2.files import write_atomically
from envs.contract import MultiTaskEnv, SimulatorMissing

# name -> (module, class, distributions whose versions the numbers depend on)
BENCHMARKS = {
    "babyai": ("envs.babyai", "MultiTaskBabyAI", ("minigrid", "gymnasium", "numpy")),
    "metaworld": ("envs.metaworld", "MultiTaskMetaWorld", ("metaworld", "mujoco", "numpy")),
    "popgym": ("envs.popgym", "MultiTaskPOPGym", ("popgym", "gymnasium", "numpy")),
    "return_scale": ("envs.return_scale", "ReturnScale", ("gymnasium", "numpy")),
}
COLUMNS = ("task", "mean_return", "std", "mean_steps", "rollouts", "seed", "versions")


def play(env: MultiTaskEnv, task: str, rollouts: int) -> tuple[list[float], list[int]]:
    """(returns, lengths in steps) of `rollouts` random rollouts of one task."""
    returns, lengths = [0.0] * rollouts, [0] * rollouts
    for rollout in range(rollouts):
        env.reset(options={"task": task})
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[rollout] += float(reward)
            lengths[rollout] += 1
            done = terminated or truncated
    return returns, lengths


def rows(env: MultiTaskEnv, rollouts: int, seed: int, versions: str) -> list[tuple[object, ...]]:
    """One row of `COLUMNS` per task; `std` is the rollouts' (not the mean's), with n - 1."""
    # Seeded once for all tasks: with a seed each, similar tasks would get the same rollouts.
    env.reset(seed=seed)
    env.action_space.seed(seed)
    table: list[tuple[object, ...]] = []
    for task in env.tasks:
        returns, lengths = play(env, task, rollouts)
        mean, std = float(np.mean(returns)), float(np.std(returns, ddof=1))
        table.append((task, mean, std, float(np.mean(lengths)), rollouts, seed, versions))
    return table


def write(out: Path, benchmark: str, rollouts: int, seed: int) -> None:
    """Play every task of a benchmark and write the table, a CSV file, when it is whole.

    Raises `ConfigError` for an unknown benchmark or too few rollouts, `RunError` if its simulator
    is missing.
    """
    if benchmark not in BENCHMARKS:
        raise ConfigError(f"{benchmark} is not one of {', '.join(sorted(BENCHMARKS))}")
    if rollouts < 2:
        raise ConfigError("rollouts: at least 2 are needed for a standard deviation")
    module, name, distributions = BENCHMARKS[benchmark]
    try:
        env: MultiTaskEnv = getattr(importlib.import_module(module), name)()
    except SimulatorMissing as error:
        raise RunError(str(error)) from None
    versions = "; ".join(f"{package} {version(package)}" for package in distributions)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(env, rollouts, seed, versions))
    write_atomically(out, text.getvalue())
