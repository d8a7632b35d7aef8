"""BabyAI: 50 training tasks and 18 held-out ones in a grid world, two attempts at a layout."""

from workflow.benchmarks.description import Actions, Array, Benchmark, ShareOfMaximum, Simulator

BENCHMARKS = (
    Benchmark(
        name="babyai",
        title="BabyAI",
        position=60,
        tasks=50,
        held_out_tasks=18,
        simulator=Simulator("minigrid", "minigrid", "babyai"),
        observations={
            "extra": Array((5,)),
            "image": Array((7, 7, 3), "uint8", 9),
            "mission": Array((9,), "int32", 30),
        },
        actions=Actions("discrete", 7),
        stored_bytes=11,
        rollout_steps=160,
        scale=ShareOfMaximum("of the largest return of an attempt"),
        published_spelling=(("-v0", ""),),
    ),
)
