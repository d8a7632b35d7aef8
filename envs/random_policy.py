"""Returns of a uniformly random policy, task by task: `python -m envs.random_policy --help`.

The zero of normalised scores. Actions are uniform over the environment's own action space. For
POPGym this is the padded one, where an action that a task does not have is replaced by a uniform
draw from those it has: with n of 27 valid, each is taken with probability
1/27 + (27 - n)/27 * 1/n = 1/n, so that the policy is also uniform over the task's own actions.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

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


def write_csv(path: Path, table: list[tuple[object, ...]]) -> None:
    """Write the table under its final name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    with scratch.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table)
    scratch.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Returns of a uniformly random policy, by task.")
    parser.add_argument("benchmark", choices=sorted(BENCHMARKS))
    parser.add_argument("--rollouts", type=int, default=200, help="per task, at least 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    options = parser.parse_args(arguments)
    if options.rollouts < 2:
        parser.error("--rollouts: at least 2 are needed for a standard deviation")
    module, name, distributions = BENCHMARKS[options.benchmark]
    try:
        env: MultiTaskEnv = getattr(importlib.import_module(module), name)()
    except SimulatorMissing as error:
        parser.error(str(error))
    versions = "; ".join(f"{package} {version(package)}" for package in distributions)
    write_csv(options.out, rows(env, options.rollouts, options.seed, versions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
