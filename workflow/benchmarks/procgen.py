"""Procgen: two attempts at levels drawn anew, in two selections of games."""

from dataclasses import replace

from workflow.benchmarks.description import (
    Actions,
    Array,
    Benchmark,
    BetweenReferences,
    Column,
    Part,
    Simulator,
)


def _range(mode: str) -> BetweenReferences:
    """The range of scores that the authors of Procgen give for a mode of the games."""
    low, high = (
        Column("procgen_ranges.csv", "game", end, where=(("mode", mode),))
        for end in ("low", "high")
    )
    return BetweenReferences("of the published range of an attempt's return", low, high)


_EASY = Benchmark(
    name="procgen_easy",
    title="Procgen",
    position=40,
    tasks=5,
    simulator=Simulator(
        "procgen-mirror", "procgen", "procgen",
        extra_packages=("gym", "gym3"),
        parts=(
            Part("Procgen's pictures (kenney and others)",
                 "none stated beside them; the package is MIT",
                 "procgen/data/assets of the installed package"),
        ),
    ),
    observations={"image": Array((64, 64, 3), "uint8", 255)},
    actions=Actions("discrete", 15),
    stored_bytes=755,
    rollout_steps=400,
    scale=_range("easy"),
    experiment="procgen",
)  # fmt: skip

BENCHMARKS = (
    _EASY,
    replace(
        _EASY,
        name="procgen_easy_rescaled",
        title="Procgen, rescaled rewards",
        position=41,
        same_except_rewards="procgen_easy",
    ),
    replace(
        _EASY,
        name="procgen_memory_hard",
        title="Procgen memory-hard",
        position=42,
        tasks=16,
        scale=_range("hard"),
        experiment="procgen_memory_hard",
    ),
)
