"""Starter configurations (`amago2 init`) beside stable-baselines3, at equal CPU time.

    python -m workflow.bench.starters --seeds 5 --seconds 180

Each run is one process of one thread. PPO and SAC have RL Zoo's settings for the environment
(DLR-RM/rl-baselines3-zoo, `hyperparams/`); a run stops at its settings' steps or when it has used
the CPU time. Every policy is evaluated on 100 rollouts that none was trained or picked on: ours as
its best evaluation had it, with sampled actions, theirs as it was at the end, with its most likely
actions, as each library does by default.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amago2.config.documents import parse_yaml
from amago2.config.layers import Layer
from amago2.config.schema import build
from amago2.env.make import make_vector_env
from amago2.environment_check import sizes_for
from amago2.rollout.evaluate import WHOLE_ROLLOUT, evaluate
from amago2.run_record import read
from amago2.starter import facts, starter
from amago2.training.amago_trainer import train
from amago2.training.checkpoint import load_policy

ROLLOUTS = 100
EVALUATION_SEED = 1_000_000
GOALS = {"CartPole-v1": 475.0, "Pendulum-v1": -200.0}
METHODS = {"CartPole-v1": ("amago2", "ppo"), "Pendulum-v1": ("amago2", "ppo", "sac")}


def _falling(start: float) -> Callable[[float], float]:
    return lambda left: left * start


ZOO: dict[tuple[str, str], tuple[int, int, dict[str, Any]]] = {
    ("CartPole-v1", "ppo"): (8, 100_000, {
        "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
        "ent_coef": 0.0, "learning_rate": _falling(1e-3), "clip_range": _falling(0.2),
    }),
    ("Pendulum-v1", "ppo"): (4, 100_000, {
        "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
        "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
    }),
    ("Pendulum-v1", "sac"): (1, 20_000, {"learning_rate": 1e-3}),
}  # fmt: skip
"""Environments, steps and settings by environment and algorithm."""


def one(environment: str, method: str, seed: int, seconds: float) -> dict[str, Any]:
    """Train and evaluate once: steps, CPU seconds of training, mean return."""
    torch.set_num_threads(1)
    run = _amago2 if method == "amago2" else _sb3
    steps, cpu_s, value = run(environment, method, seed, seconds)
    return {
        "environment": environment,
        "method": method,
        "seed": seed,
        "steps": steps,
        "cpu_s": round(cpu_s, 1),
        "return": round(value, 1),
    }


def _amago2(environment: str, _: str, seed: int, seconds: float) -> tuple[int, float, float]:
    text = starter(environment, facts(build([sizes_for(environment)])))
    config = build([Layer("starter", parse_yaml(text, "starter")), Layer("seed", {"seed": seed})])
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run")
        record, policy = read(run), load_policy(run / "best")
    if record["cpu_s"] > seconds:
        print(f"{environment} amago2: took {record['cpu_s']:.0f} CPU s", file=sys.stderr)
    with closing(make_vector_env(config.env, 10)) as envs:
        rows = evaluate(policy, envs, "train", ROLLOUTS, EVALUATION_SEED, 0)
    value = float(np.mean([row.value for row in rows if row.attempt == WHOLE_ROLLOUT]))
    return record["env_steps"], record["cpu_s"], value


def _sb3(environment: str, method: str, seed: int, seconds: float) -> tuple[int, float, float]:
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    count, steps, settings = ZOO[environment, method]
    algorithm = {"ppo": PPO, "sac": SAC}[method]
    envs = make_vec_env(environment, count, seed=seed)
    model = algorithm("MlpPolicy", envs, seed=seed, device="cpu", **settings)
    began = time.process_time()
    model.learn(steps, callback=lambda *_: time.process_time() - began < seconds)
    cpu_s = time.process_time() - began
    fresh = make_vec_env(environment, 1, seed=EVALUATION_SEED)
    value, _ = evaluate_policy(model, fresh, ROLLOUTS, warn=False)
    return int(model.num_timesteps), cpu_s, float(np.mean(value))


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown: a row for each environment and method, with all seeds."""
    yield "| environment | method | steps | CPU s | returns by seed | mean [95 %] | solved |"
    yield "|---|---|---|---|---|---|---|"
    for environment, methods in METHODS.items():
        for method in methods:
            own = [r for r in rows if (r["environment"], r["method"]) == (environment, method)]
            if not own:
                continue
            values = np.array([r["return"] for r in own])
            low, high = interval(values)
            solved = sum(value >= GOALS[environment] for value in values)
            yield (
                f"| {environment} | {method} | {max(r['steps'] for r in own):,} "
                f"| {min(r['cpu_s'] for r in own):.0f}-{max(r['cpu_s'] for r in own):.0f} "
                f"| {' '.join(f'{value:.0f}' for value in values)} "
                f"| {values.mean():.0f} [{low:.0f}, {high:.0f}] | {solved} of {len(own)} |"
            )


def interval(values: "np.ndarray[Any, Any]", samples: int = 10_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (samples, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure(environment: str, method: str, seeds: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Results of `one` for all seeds, each from a process of its own."""
    for seed in range(seeds):
        command = [sys.executable, "-m", "workflow.bench.starters", "--seconds", str(seconds)]
        command += ["--one", environment, method, str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(row, file=sys.stderr, flush=True)
        yield row


def main() -> None:
    """Run every seed of every method and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--one", nargs=3, metavar=("ENVIRONMENT", "METHOD", "SEED"))
    given = parser.parse_args()
    if given.one:
        environment, method, seed = given.one
        print(json.dumps(one(environment, method, int(seed), given.seconds)))
        return
    pairs = [(environment, method) for environment in METHODS for method in METHODS[environment]]
    rows = [row for pair in pairs for row in measure(*pair, given.seeds, given.seconds)]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
