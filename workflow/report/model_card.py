"""The card of a trained policy: what it is, how it was trained, what it scored, its licence.

Made from the run's own files alone, so that `make verify` can make it again and compare.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.documents import read_yaml
from amago2.files import write_atomically
from workflow.analysis import frames
from workflow.benchmarks.lookup import benchmarks
from workflow.render.style import AGENTS

NAME = "README.md"
"""Which GitHub and model hubs show beside the checkpoint."""
MAX_BYTES = 2**20
"""A card has some kilobytes."""
PAPER = "https://arxiv.org/abs/2411.11188"
HEAD = """---
license: mit
library_name: amago2
pipeline_tag: reinforcement-learning
tags: [meta-reinforcement-learning, multi-task, {benchmark}]
---
"""


def write(run: Path) -> Path:
    """Write the card into a finished run's folder. Raises `ConfigError` or `RunError`."""
    write_atomically(run / NAME, card(run))
    return run / NAME


def card(run: Path) -> str:
    """The card's text, in Markdown. Raises `ConfigError` or `RunError` if the run is not whole."""
    record = run_record.check(run)
    config = read_yaml(run / "config.yaml")
    benchmark, variant = config["benchmark"], config["variant"]
    folder = f"results/{config['budget']}/runs/{benchmark}/{variant}/{run.name}"
    label = AGENTS[variant].label if variant in AGENTS else variant
    sections = [
        f"# {benchmark}, {label}, seed {config['seed']}",
        _what(config, record),
        "## Scores",
        _scores(run),
        "## Use",
        f"```sh\nmake pull FOLDER={folder}\namago2 evaluate {folder}\n```",
        "## How it was trained",
        _training(config, record),
        "## Limits and licence",
        _limits(config),
    ]
    return HEAD.format(benchmark=benchmark) + "\n\n".join(sections) + "\n"


def differs(run: Path) -> bool:
    """Whether the run has a card, and it is not what the run's files give."""
    path = run / NAME
    try:
        if not path.is_file():
            return False
        return path.stat().st_size > MAX_BYTES or path.read_text(encoding="utf-8") != card(run)
    except Exception:  # of whatever a damaged run leads to, which is told of by its record
        return True


def _what(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    return (
        f"A policy with {record.get('parameters', 0):,} trained parameters for all tasks of "
        f"`{config['benchmark']}` together, which it has to tell apart by itself: a reproduction "
        f"of [AMAGO-2]({PAPER}) (Grigsby et al., NeurIPS 2024) at budget `{config['budget']}`. "
        "It is no checkpoint of the paper's authors. `config.yaml` is its complete configuration, "
        "`evaluations.csv` has every evaluation."
    )


def _scores(run: Path) -> str:
    """Mean and standard error of the return at the last evaluation, by set and task."""
    found = frames.read_csv(run / "evaluations.csv")
    last = found[(found.step == found.step.max()) & (found.metric == "return")]
    whole = last[last.attempt == -1]
    rows = ["| tasks | task | return | standard error | rollouts |", "|---|---|---:|---:|---:|"]
    for (split, task), group in whole.groupby(["split", "task"]):
        error = f"{group.value.sem():.3g}" if len(group) > 1 else ""
        mean = f"{group.value.mean():.3g}"
        rows.append(f"| {split!s} | `{task!s}` | {mean} | {error} | {len(group)} |")
    return "\n".join(rows) + f"\n\nAfter {int(found.step.max()):,} timesteps, not normalised."


def _training(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    known = {key: value or "not recorded" for key, value in record.items()}
    code, locks = (known.get(key, "not recorded") for key in ("git_commit", "lock_sha256"))
    changed = ", with changes that were not committed" if record.get("git_dirty") else ""
    machine = (record.get("gpu") or {}).get("name") or record.get("cpu", "a machine not recorded")
    found = record.get("versions", {})
    rows = {
        "timesteps, updates": f"{record['env_steps']:,}, {record['updates']:,}",
        "time": f"{_time(record['wall_s'])} on {machine}",
        "CPU time": _time(record["cpu_s"]),
        "seed, hash of the configuration": f"{config['seed']}, `{record['hash']}`",
        "code": f"commit `{code}`{changed}",
        "versions": ", ".join(f"{name} {each}" for name, each in found.items()),
        "SHA-256 of the locks": f"`{locks}`",
        "interruptions": f"{record['resumptions']}; resumed: {record['resumed']}",
        "begun from": "another run" if record.get("continued_from") else "nothing",
        "SHA-256 of the policy": f"`{record['checkpoint_sha256'].get('policy.safetensors', '')}`",
    }
    cells = (f"| {key} | {value} |" for key, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *cells])


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"


def _limits(config: Mapping[str, Any]) -> str:
    found = benchmarks().get(config["benchmark"])
    simulator = found.simulator.package if found and found.simulator else None
    source = "in an environment of this project"
    if simulator:
        source = f"in the simulator `{simulator}`, which has a licence of its own"
    return (
        "For research on learning many tasks with one policy. It acts in this benchmark and was "
        "trained for no other use; other sizes, seeds and settings score differently, so one run "
        "says little of the method: the report compares seeds. It learned from its own experience "
        f"{source} and from no data of people.\n\nThe weights are under the MIT licence, as is "
        "this repository."
    )
