"""Measure speed and memory into docs/performance.json and docs/performance.md.

    python -m workflow bench                 (make bench)
    python -m workflow bench learner replay  (make bench ONLY="learner replay")

Each figure comes from a process of its own and is the median of its repeats; learner and actors are
measured in five such runs. Parts that are not measured anew stay as they were.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from amago2.errors import ConfigError
from amago2.files import write_atomically
from workflow.bench import page, published
from workflow.bench.axes import AXES
from workflow.docs.marked_section import publish

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND = "make bench"
BOTH = ("dep_actor_dep_critic", "ind_actor_ind_critic")
MIXED = ("dep_actor_ind_critic", "ind_actor_dep_critic")
PAPER_BATCH = {
    "ml45": 4, "popgym": 2, "procgen_easy": 4, "procgen_memory_hard": 1, "atari": 4, "babyai": 2,
}  # fmt: skip
PARALLEL_JOBS = {"precision": 2, "learning": 2}
"""Runs of one thread whose CPU seconds count, not those of the clock."""
ONCE = {
    "memory": "counted, not timed",
    "precision": "one run a seed",
    "learning": "medians of seeds 0 to 4, each until its scores were reached",
}
ROUNDS = {"learner": 5, "actors": 5}
"""How often a whole part is measured, since a machine that is shared is now faster, now slower."""
NETS = (("tiny", "8"), ("tiny", "16"), ("tiny", "64"), ("medium", "16"))


def jobs(part: str) -> Iterator[dict[str, str]]:
    """What a part measures: the arguments of each measurement by name, `measure` naming it."""
    if part in ("learner", "variants"):
        for size in ("small", "medium", "pixels"):
            for variant in BOTH if part == "learner" else MIXED:
                for mode in ("plain", "float32", "bfloat16"):
                    yield {"measure": "learner", "size": size, "variant": variant, "mode": mode}
    elif part == "paper":
        for size, batch in PAPER_BATCH.items():
            for mode in ("float32", "bfloat16"):
                yield {"measure": part, "size": size, "mode": mode, "batch": str(batch)}
    elif part in ("actors", "policy"):
        for net, count in NETS:
            for mode in ("plain", "cached"):
                yield {"measure": part, "net": net, "count": count, "mode": mode}
        if part == "actors":  # the tiny net's products are too small to gain from it
            yield {"measure": part, "net": "medium", "count": "16", "mode": "bfloat16"}
    elif part == "checks":
        yield from ({"measure": part, "count": count} for count in ("8", "16", "64"))
    elif part == "replay":
        for kind in published.REPLAY:
            for mode in ("plain", "shards"):
                yield {"measure": part, "kind": kind, "mode": mode}
    elif part == "run":
        for variant in BOTH:
            for mode in ("float32", "bfloat16"):
                yield {"measure": part, "variant": variant, "mode": mode}
        yield {"measure": "startup"}
    elif part == "scaling":
        yield from ({"measure": part, "axis": axis} for axis in AXES)
    elif part == "memory":
        for size in PAPER_BATCH:
            for mode in ("float32", "bfloat16"):
                for frames in ("", "512") if size == "procgen_memory_hard" else ("",):
                    asked = {"size": size, "mode": mode, "recompute_frames": frames}
                    yield {"measure": "account", **asked}
        for size in ("small", "pixels"):
            for variant in BOTH:
                asked = {"size": size, "variant": variant, "batch": "2"}
                yield {"measure": "check", **asked}
    elif part == "gpu":
        for size in PAPER_BATCH:
            for mode in ("float32", "tfloat32", "bfloat16"):
                for how in ("eager", "captured", "compiled"):
                    yield {"measure": part, "size": size, "mode": mode, "how": how}
        for count in ("16", "64"):
            for mode in ("float32", "bfloat16"):
                yield {"measure": "gpu_actors", "count": count, "mode": mode}
        for mode in ("float32", "bfloat16"):
            yield {"measure": "profile", "mode": mode}
    elif part == "precision":
        for mode in ("float32", "bfloat16"):
            yield from ({"measure": part, "mode": mode, "seed": str(seed)} for seed in range(3))
    elif part == "learning":
        for seed in range(5):
            for row in published.LEARNING:
                yield {"measure": part, "row": row, "seed": str(seed)}


def measure(job: dict[str, str], repeats: int) -> dict[str, Any]:
    """One row: the arguments, and what a fresh process found."""
    command = [sys.executable, "-m", "workflow", "job", "measure", *job.values(), str(repeats)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(*job.values(), found, file=sys.stderr, flush=True)
    return {**job, **found}


def combined(rounds: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of medians over rounds; `runs` has the values of all, by name."""
    if len(rounds) == 1:
        return list(rounds[0])
    rows = []
    for same in zip(*rounds, strict=True):
        values = {k: [row[k] for row in same] for k, x in same[0].items() if isinstance(x, float)}
        medians = {name: statistics.median(each) for name, each in values.items()}
        rows.append({**same[0], **medians, "runs": values})
    return rows


def measure_here(arguments: Sequence[str]) -> dict[str, Any]:
    """What `measure` asks a fresh process for."""
    from workflow.bench import gpu, learning, measures, scaling, tensor_memory

    name, *given, repeats = arguments
    if name in ("learning", "precision"):
        return getattr(learning, name)(*given)
    if name in ("account", "check"):
        return getattr(tensor_memory, name)(*given)
    if name in ("gpu", "gpu_actors", "profile"):
        return getattr(gpu, name)(*given, int(repeats))
    if name == "scaling":
        return {"points": scaling.scaling(given[0], int(repeats))}
    result = getattr(measures, name)(*given, int(repeats))
    return {**result, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def about(part: str, repeats: int, busy: float) -> str:
    """The machine, how often was measured, and how busy it was before, in percent."""
    import torch

    from amago2.training.hardware import cpu_name

    cores = os.cpu_count() or 1
    often = ONCE.get(part, f"medians of {repeats} repeats")
    if part in ROUNDS:
        often = f"medians of {ROUNDS[part]} runs, one after the other, of {repeats} repeats each"
    if part == "gpu":
        often = f"on {torch.cuda.get_device_name()}; {often}"
    said = (
        f"{cores} cores ({cpu_name()}), Python {platform.python_version()}, PyTorch "
        f"{torch.__version__}; {often}; {busy:.0f} % busy at the start"
    )
    if busy > 25 and part != "memory":
        return f"{said}: **the machine was busy**, so only the ratios within this table count."
    return f"{said}."


def write(data: dict[str, Any], docs: Path) -> None:
    """The data, the page and the plot."""
    text = json.dumps(data, indent=1) + "\n"
    write_atomically(docs / "performance.json", text.encode())
    publish(docs / "performance.md", COMMAND, page.render(data))
    if "scaling" in data:
        from workflow.bench import plots

        facts = [
            data["scaling"]["about"].replace("**", ""),
            "Grey: line fitted to the logarithms.",
        ]
        plots.save(data["scaling"]["rows"], facts, docs / "images" / "performance_scaling.png")


def run(only: Sequence[str], repeats: int, docs: Path = DOCS) -> None:
    """Measure some parts, or all that this machine can, and write the page after each.

    Raises `ConfigError` for an unknown part, or one that cannot be measured here.
    """
    from workflow.bench import gpu

    unknown = [part for part in only if part not in page.PARTS]
    if unknown:
        raise ConfigError(f"{unknown[0]} is not a part: those are {', '.join(page.PARTS)}")
    lacking = gpu.missing()
    if lacking and "gpu" in only:
        raise ConfigError(f"gpu cannot be measured here: {lacking}")
    if lacking and not only:
        print(f"not measured: gpu ({lacking})", file=sys.stderr)
    parts = only or [part for part in page.PARTS if not (lacking and part == "gpu")]
    stored = docs / "performance.json"
    data = json.loads(stored.read_text()) if stored.exists() else {}
    for part in parts:
        busy = psutil.cpu_percent(interval=2)
        with ThreadPoolExecutor(PARALLEL_JOBS.get(part, 1)) as pool:
            rounds = [
                list(pool.map(partial(measure, repeats=repeats), jobs(part)))
                for _ in range(ROUNDS.get(part, 1))
            ]
        data[part] = {"about": about(part, repeats, busy), "rows": combined(rounds)}
        write(data, docs)
