"""Starter configurations (`amago2 init`) beside stable-baselines3, into docs/learning.md.

    python -m workflow.bench.starters --only CartPole-v1 --seeds 5 --seconds 180
    python -m workflow.bench.starters --take build/learn-check

The second one takes what `make learn-check` has measured instead.
Each run is one process of one thread. PPO and SAC have RL Zoo's settings; their runs end with the
steps of those, or when the CPU time is used. Every policy is evaluated on 100 rollouts that none
was trained or picked on: ours as its best evaluation had it, with sampled actions, theirs as it was
at the end and after as many steps as ours, with its likeliest actions, as each library does by
default. Rows that are there are not measured again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amago2.config.documents import parse_yaml
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build
from amago2.env.make import make_vector_env
from amago2.environment_check import sizes_for
from amago2.files import write_atomically
from amago2.rollout.evaluate import WHOLE_ROLLOUT, evaluate
from amago2.run_record import read
from amago2.starter import facts, starter
from amago2.training.amago_trainer import train
from amago2.training.checkpoint import load_policy
from amago2.training.hardware import cpu_name
from workflow.bench.starter_checks import CHECKS, Check
from workflow.docs.marked_section import publish

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "learning.jsonl"
PAGE = ROOT / "docs" / "learning.md"
COMMAND = "python -m workflow.bench.starters"
ROLLOUTS = 100
EVALUATION_SEED = 1_000_000
Row = dict[str, Any]


def configuration(check: Check, seed: int) -> AmagoConfig:
    """What `amago2 init` writes for the environment, with a seed."""
    text = starter(
        check.environment, facts(build([sizes_for(check.environment)])), memory=check.memory
    )
    return build([Layer("starter", parse_yaml(text, "starter")), Layer("seed", {"seed": seed})])


def steps(config: AmagoConfig) -> int:
    """Environment steps of a run."""
    c = config.collector
    return c.actors * c.steps_per_epoch * c.epochs


def one(name: str, method: str, seed: int, seconds: float) -> Row:
    """Train and evaluate once: steps, CPU seconds of training, mean returns by task."""
    torch.set_num_threads(1)
    check = CHECKS[name]
    config = configuration(check, seed)
    if method == "amago2":
        found = _amago2(config)
    else:
        from workflow.bench import sb3

        limits = steps(config), seconds
        evaluation = ROLLOUTS, EVALUATION_SEED
        found = sb3.train_and_evaluate(name, method, seed, check.environments(), limits, evaluation)
    about = f"{cpu_name()}, PyTorch {torch.__version__}"
    return {"check": name, "method": method, "seed": seed, **found, "about": about}


def _amago2(config: AmagoConfig) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run")
        record, policy = read(run), load_policy(run / "best")
    returns: dict[str, list[float]] = defaultdict(list)
    with closing(make_vector_env(config.env, 10)) as envs:
        for row in evaluate(policy, envs, "train", ROLLOUTS, EVALUATION_SEED, 0):
            if (row.attempt, row.metric) == (WHOLE_ROLLOUT, "return"):
                returns[row.task if envs.tasks else ""].append(row.value)
    return {
        "steps": record["env_steps"],
        "cpu_s": round(record["cpu_s"], 1),
        "returns": {task: round(float(np.mean(each)), 3) for task, each in returns.items()},
    }


def solved(row: Row, key: str = "returns") -> bool:
    """Whether every task's goal is reached."""
    return all(row[key][task] >= goal for task, goal in CHECKS[row["check"]].goals.items())


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: a row for each environment, task and method, with all seeds."""
    yield "| environment | method | steps | CPU s | return by seed | mean [95 %] | solved |"
    yield "|---|---|---:|---:|---|---|---|"
    for name, check in CHECKS.items():
        for method in check.methods:
            own = sorted(
                (r for r in rows if (r["check"], r["method"]) == (name, method)),
                key=lambda row: int(row["seed"]),
            )
            early = [row for row in own if "returns_at_equal_steps" in row]
            ours = [r for r in rows if (r["check"], r["method"]) == (name, "amago2")]
            if early and ours:
                yield from _lines(name, f"{method}, our steps", early, "returns_at_equal_steps")
            if own:
                yield from _lines(name, method, own, "returns")


def page(rows: Sequence[Row]) -> str:
    """The part of docs/learning.md that is made from rows: the table, and on what."""
    if not rows:
        return "Not measured yet."
    return "\n".join([*table(rows), "", f"On {' and '.join(sorted({r['about'] for r in rows}))}."])


def _lines(name: str, said: str, rows: Sequence[Row], key: str) -> Iterator[str]:
    whole = key == "returns"
    seconds = [row["cpu_s"] for row in rows]
    used = f"{max(row['steps'] for row in rows):,} | {min(seconds):.0f}"
    used += f" to {max(seconds):.0f}" if len(rows) > 1 else ""
    for task in CHECKS[name].goals:
        values = np.array([row[key][task] for row in rows])
        mean = _said(values.mean())
        if len(values) > 1:
            mean += " [" + ", ".join(map(_said, interval(values))) + "]"
        count = f"{sum(solved(row, key) for row in rows)} of {len(rows)}"
        yield (
            f"| {task or name} | {said} | {used if whole else ' | '} "
            f"| {' '.join(map(_said, values))} | {mean} | {count} |"
        )


def _said(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def interval(values: "np.ndarray[Any, Any]", samples: int = 10_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (samples, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def stored(path: Path) -> list[Row]:
    """Rows of a file that `measure` wrote, one JSON object a line; a later one replaces another."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return list({_key(row): row for row in rows}.values())


def take(folder: Path, path: Path) -> None:
    """Add the rows of all files of a folder to those of `path`, each in place of its former one."""
    new = [row for each in sorted(folder.glob("*.jsonl")) for row in stored(each)]
    if not new:
        raise SystemExit(f"{folder}: no rows; make learn-check writes them into build/learn-check")
    keys = {_key(row) for row in new}
    kept = [row for row in stored(path) if _key(row) not in keys and row["check"] in CHECKS]
    rows = sorted([*kept, *new], key=lambda row: (list(CHECKS).index(row["check"]), _key(row)))
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def _key(row: Row) -> tuple[str, str, int]:
    return row["check"], row["method"], row["seed"]


def measure(
    name: str, seeds: int, seconds: float, path: Path, methods: Sequence[str] = ()
) -> list[Row]:
    """Rows of all methods, or some, and seeds; those that `path` lacks are measured and added.

    Each is measured in a process of its own. Rows of another starter configuration are measured
    again, and those of other methods if the number of its steps has changed.
    """
    found = []
    for method in methods or CHECKS[name].methods:
        for seed in range(seeds):
            config = configuration(CHECKS[name], seed)
            wanted = {"config": config.hash} if method == "amago2" else {"ours": steps(config)}
            known = [row for row in stored(path) if _key(row) == (name, method, seed)]
            if not known or {key: known[0].get(key) for key in wanted} != wanted:
                known = [_measure(name, method, seed, seconds) | wanted]
                with path.open("a") as file:
                    file.write(json.dumps(known[0]) + "\n")
            row = known[0]
            said = f"{name}, {method}, seed {seed}: {row['returns']}, {row['cpu_s']} CPU s"
            print(said, file=sys.__stderr__, flush=True)
            found.append(row)
    return found


def _measure(name: str, method: str, seed: int, seconds: float) -> Row:
    command = [sys.executable, "-m", "workflow.bench.starters", "--seconds", str(seconds)]
    command += ["--one", name, method, str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    """Run every seed of every method and write the table into docs/learning.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=CHECKS)
    parser.add_argument("--method", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--take", type=Path, metavar="FOLDER")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "METHOD", "SEED"))
    given = parser.parse_args()
    if given.one:
        name, method, seed = given.one
        print(json.dumps(one(name, method, int(seed), given.seconds)))
        return
    if given.take:
        take(given.take, STORED)
    else:
        for name in given.only or CHECKS:
            measure(name, given.seeds, given.seconds, STORED, given.method)
    publish(PAGE, COMMAND, page(stored(STORED)))


if __name__ == "__main__":
    main()
