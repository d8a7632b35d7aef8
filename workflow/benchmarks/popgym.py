"""POPGym: 27 tasks of memory; the first attempt explores, the second counts."""

from workflow.benchmarks.description import (
    Actions,
    Array,
    Benchmark,
    BetweenReferences,
    Column,
    Simulator,
)

BENCHMARKS = (
    Benchmark(
        name="popgym",
        title="POPGym",
        position=20,
        tasks=27,
        simulator=Simulator("popgym", "popgym", "popgym"),
        observations={"observation": Array((29,))},
        actions=Actions("discrete", 27),
        stored_bytes=7,
        rollout_steps=300,
        scale=BetweenReferences(
            "from a random policy's return to the best published single-task one",
            zero=Column("popgym_random.csv", "task", "mean_return"),
            full=Column(
                "fig16_popgym_tasks.csv",
                "panel",
                "value",
                where=(("series", "best_single_task_15M"),),
            ),
        ),
        score_of="rollout",
        published_spelling=(("NoisyPosOnly", "NoisyPositionOnly"), ("Cartpole", "CartPole")),
    ),
)
