"""Speed and memory of learner, actors and replay, beside a plain baseline of the same run.

    python -m workflow.bench --out docs/performance.md        (make bench)

Medians over repeats. The baseline is the same arithmetic written plainly: the critics' first layer
on the joined input, values of all states at once, freed memory returned to the system, float32.
Each figure is measured in a process of its own, so that peak memory is its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workflow.measured import machine, publish

SIZES: dict[str, dict[str, Any]] = {
    "small": {"batch": 24, "length": 128, "width": 128, "layers": 2, "feedforward": 512},
    "medium": {"batch": 24, "length": 256, "width": 256, "layers": 3, "feedforward": 1024},
    "pixels": {"batch": 8, "length": 128, "width": 256, "layers": 3, "feedforward": 1024},
}
VARIANTS = {
    "dep_actor_dep_critic": {"actor": "policy_gradient", "critic": "popart"},
    "ind_actor_ind_critic": {"actor": "filtered_imitation", "critic": "two_hot"},
}
MODES = ("plain", "float32", "bfloat16")
COMMAND = "make bench"


# --- what is measured, each in a process of its own -----------------------------------------------


def _config(size: str, variant: str, mode: str) -> Any:
    from amago2.config import build
    from amago2.layers import Layer

    z = SIZES[size]
    pixels = size == "pixels"
    ff = {"kind": "ff", "hidden": [512, 512], "output": 200}
    learner = {"batch": z["batch"], "updates_per_epoch": 1}
    if mode == "bfloat16":
        learner["precision"] = "bfloat16"
    return build(
        [
            Layer(
                "bench",
                {
                    "env": {"entry": "bench:None"},
                    "agent": VARIANTS[variant],
                    "encoder": {"kind": "cnn"} if pixels else ff,
                    "trajectory": {
                        "context": z["length"] - 1,
                        **{key: z[key] for key in ("width", "layers", "feedforward")},
                    },
                    "learner": learner,
                    "collector": {"actors": 1, "steps_per_epoch": 1, "epochs": 1},
                    "replay": {"capacity": 1},
                    "evaluation": {"every": 1, "rollouts": 1, "final_rollouts": 1},
                },
            )
        ]
    )


def _agent(size: str, variant: str, mode: str) -> Any:
    import gymnasium as gym
    import numpy as np

    from amago2.checkpoint import make_agent
    from amago2.spaces import ActionSpec

    if size == "pixels":
        image: gym.spaces.Box[Any] = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        actions = ActionSpec("discrete", 15)
        return make_agent(_config(size, variant, mode), {"image": image}, actions)
    boxes = {"observation": gym.spaces.Box(-9, 9, (17,), np.float32)}
    return make_agent(_config(size, variant, mode), boxes, ActionSpec("discrete", 4))


def _write_plainly() -> None:
    """Undo what makes our arithmetic fast, leaving the same arithmetic."""
    import torch

    from amago2 import agent
    from amago2.nets.heads import CriticEnsemble

    def of_actions(self: Any, states: Any, actions: Any, frozen: bool = False) -> Any:
        layers, (m, g, k) = (
            self._layers(frozen),
            (len(states), len(self.features), actions.shape[-2]),
        )
        joined = torch.cat(
            [
                states[:, None, None].expand(m, g, k, -1),
                self.features.view(1, g, 1, 1).expand(m, g, k, 1),
                actions.expand(m, g, k, -1),
            ],
            -1,
        ).flatten(0, 2)
        first = torch.baddbmm(
            layers[0][1], joined.expand(len(layers[0][0]), *joined.shape), layers[0][0]
        )
        return self._finish(first, layers).view(len(first), m, g, k, -1)

    CriticEnsemble.of_actions = of_actions  # type: ignore[method-assign]
    agent.CHUNK = 2**31


def _learner(size: str, variant: str, mode: str, repeats: int) -> dict[str, float]:
    """Seconds of one update: loss, gradients, clip, optimiser, targets; 2 threads."""
    import torch

    from amago2.batch import Batch
    from amago2.resources import keep_freed_memory

    torch.set_num_threads(2)
    if mode == "plain":
        _write_plainly()
    else:
        keep_freed_memory()
    agent = _agent(size, variant, mode).train()
    parameters = [p for p in agent.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=mode != "plain")
    rng = torch.Generator().manual_seed(0)
    shape = (SIZES[size]["batch"], SIZES[size]["length"])
    if size == "pixels":
        observation = {"image": torch.randint(0, 256, (*shape, 64, 64, 3), generator=rng).byte()}
    else:
        observation = {"observation": torch.randn(*shape, 17, generator=rng)}
    batch = Batch(
        observation,
        torch.randn(shape, generator=rng),
        torch.eye(agent.actions.size)[torch.randint(agent.actions.size, shape, generator=rng)],
        torch.zeros(shape, dtype=torch.bool),
        torch.arange(shape[1]).expand(shape),
        torch.ones(shape, dtype=torch.bool),
    )

    def update() -> None:
        loss, _ = agent.loss(batch, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        agent.update_targets()

    seconds = _median(update, repeats)
    return {"seconds": seconds, "tokens_per_s": shape[0] * shape[1] / seconds}


def _actors(width: int, layers: int, count: int, mode: str, repeats: int) -> dict[str, float]:
    """Policy steps/s of `count` actors, context 128; plain: no cache, the whole sequence."""
    import torch

    from amago2.config import TransformerTrajectory
    from amago2.nets.transformer import Transformer
    from amago2.resources import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    config = TransformerTrajectory(context=128, width=width, layers=layers, feedforward=4 * width)
    net = Transformer(64, config).eval()
    tokens, time_ = torch.randn(count, 128, 64), torch.arange(128).expand(count, 128)
    with torch.inference_mode():
        if mode == "plain":
            seconds = _median(lambda: net(tokens, time_, None), repeats)
            return {"steps_per_s": count / seconds}
        memory = net.initial_memory(count, torch.device("cpu"))

        def rollout() -> None:
            memory.steps.zero_()
            for t in range(128):
                net.step(tokens[:, t], memory)

        return {"steps_per_s": 128 * count / _median(rollout, repeats)}


def _replay(kind: str, mode: str, repeats: int) -> dict[str, float]:
    """Trajectories written, and sub-sequences sampled, per second; plain: a .npz per trajectory."""
    import gymnasium as gym
    import numpy as np

    from amago2.replay import Replay, record_type
    from amago2.spaces import ActionSpec

    kinds: dict[str, tuple[int, int, Any]] = {
        "52 steps, small vector": (52, 52, gym.spaces.Box(-9, 9, (4,), np.float32)),
        "1,000 steps of 17 floats": (1000, 128, gym.spaces.Box(-9, 9, (17,), np.float32)),
        "512 frames of 64x64x3": (512, 128, gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)),
    }
    length, context, box = kinds[kind]
    record = record_type({"o": box}, ActionSpec("discrete", 4))
    chance = np.random.default_rng(0)
    tokens = np.zeros(length + 1, record)
    tokens["observation.o"] = chance.integers(0, 9, tokens["observation.o"].shape)
    count = 40 if box.shape == (64, 64, 3) else 400
    with tempfile.TemporaryDirectory() as folder:
        if mode == "plain":
            return _plain_replay(Path(folder), tokens, count, context, repeats)
        replay = Replay(Path(folder), record, 10**9, "timesteps", 10**9)

        def write() -> None:
            for _ in range(count):
                replay.add(tokens, "task")

        wrote = _median(write, 3)
        sampled = _median(lambda: [replay.sample(chance, 24, context) for _ in range(20)], repeats)
        return {"written_per_s": count / wrote, "sampled_per_s": 24 * 20 / sampled}


def _plain_replay(
    folder: Path, tokens: Any, count: int, context: int, repeats: int
) -> dict[str, float]:
    import numpy as np

    arrays = {name: tokens[name] for name in tokens.dtype.names}
    chance = np.random.default_rng(0)

    def write() -> None:
        for i in range(count):
            np.savez(folder / f"{i}.npz", **arrays)

    def sample() -> None:
        for i in chance.integers(count, size=24):
            with np.load(folder / f"{i}.npz", allow_pickle=False) as file:
                start = chance.integers(len(tokens) - context)
                _ = {name: file[name][start : start + context + 1] for name in arrays}

    wrote = _median(write, 3)
    return {"written_per_s": count / wrote, "sampled_per_s": 24 / _median(sample, repeats)}


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


# --- the report -----------------------------------------------------------------------------------


def measure(name: str, *arguments: object, repeats: int) -> dict[str, float]:
    """Run one measurement in a fresh process."""
    command = [sys.executable, "-m", "workflow.bench", "--measure", name]
    command += [*map(str, arguments), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(name, *arguments, done.stdout.strip(), file=sys.stderr, flush=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _one(name: str, arguments: Sequence[str]) -> dict[str, float]:
    *given, repeats = arguments
    if name == "learner":
        size, variant, mode = given
        result = _learner(size, variant, mode, int(repeats))
    elif name == "actors":
        width, layers, count, mode = given
        result = _actors(int(width), int(layers), int(count), mode, int(repeats))
    else:
        kind, mode = given
        result = _replay(kind, mode, int(repeats))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**result, "peak_gib": peak}


def report(repeats: int) -> str:
    """All measurements as Markdown."""
    lines = [_machine(repeats), "", "### Learner: one update, batch in memory, 2 threads", ""]
    lines += [
        "| size | variant | | s | tokens/s | ratio to plain | peak memory (GiB) |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for size in SIZES:
        for variant in VARIANTS:
            plain = 0.0
            for mode in MODES:
                m = measure("learner", size, variant, mode, repeats=repeats)
                plain = plain or m["seconds"]
                lines.append(
                    f"| {size} | `{variant}` | {mode} | {m['seconds']:.3f} | "
                    f"{m['tokens_per_s']:,.0f} | {plain / m['seconds']:.2f} | {m['peak_gib']:.1f} |"
                )
    lines += ["", "### Actors: the policy alone, context 128, 1 thread", ""]
    lines += ["| net | actors | | steps/s | ratio to plain |", "|---|---:|---|---:|---:|"]
    for width, layers, count in ((64, 2, 8), (64, 2, 16), (64, 2, 64), (256, 3, 16), (256, 3, 64)):
        plain = 0.0
        for mode, name in (("plain", "whole sequence"), ("cached", "cached")):
            m = measure("actors", width, layers, count, mode, repeats=repeats)
            plain = plain or m["steps_per_s"]
            lines.append(
                f"| {width} wide, {layers} layers | {count} | {name} | {m['steps_per_s']:,.0f} | "
                f"{m['steps_per_s'] / plain:.1f} |"
            )
    lines += ["", "### Replay on disk, page cache hot", ""]
    lines += [
        "| trajectories | | written/s | sampled/s | ratio to plain (sampling) |",
        "|---|---|---:|---:|---:|",
    ]
    for kind in ("52 steps, small vector", "1,000 steps of 17 floats", "512 frames of 64x64x3"):
        plain = 0.0
        for mode, name in (("plain", "a .npz each"), ("shards", "shards")):
            m = measure("replay", kind, mode, repeats=repeats)
            plain = plain or m["sampled_per_s"]
            lines.append(
                f"| {kind} | {name} | {m['written_per_s']:,.0f} | {m['sampled_per_s']:,.0f} | "
                f"{m['sampled_per_s'] / plain:.1f} |"
            )
    return "\n".join(lines)


def _machine(repeats: int) -> str:
    import torch

    return (
        f"{machine()}, PyTorch {torch.__version__}; medians of {repeats} repeats. The rows of a "
        "group are from one run; machines are shared, so the ratios say more than the seconds."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m workflow.bench", description=__doc__)
    parser.add_argument("--out", type=Path, help="file with the two marks to write between")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(_one(given.measure[0], given.measure[1:])))
        return
    text = report(given.repeats)
    if given.out:
        publish(given.out, COMMAND, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
