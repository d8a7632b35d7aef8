"""Atari: ten games with their own rewards, or with clipped ones in training."""

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

_ATARI = Benchmark(
    name="atari",
    title="Atari",
    position=50,
    tasks=10,
    simulator=Simulator(
        "ale-py", "ale_py", "atari",
        parts=(
            Part("ROMs in ale-py (Atari 2600 games)",
                 "their owners' copyright; ale-py ships them with no licence of their own",
                 "ale_py/roms of the installed package"),
        ),
    ),
    observations={"image": Array((84, 84, 3), "uint8", 255)},
    actions=Actions("discrete", 18),
    stored_bytes=193,
    rollout_steps=2500,
    scale=BetweenReferences(
        "from a random policy's return to a person's",
        zero=Column("atari_scores.csv", "game", "random"),
        full=Column("atari_scores.csv", "game", "human"),
    ),
)  # fmt: skip

BENCHMARKS = (
    _ATARI,
    replace(
        _ATARI,
        name="atari_clipped",
        title="Atari, clipped rewards",
        position=51,
        same_except_rewards="atari",
        experiment="atari",
        merged_with="atari",
    ),
)
