"""Meta-World ML45: a robot arm, 45 tasks with hidden goals, three attempts."""

from workflow.benchmarks.description import Actions, Array, Benchmark, Part, Simulator, SuccessRate

BENCHMARKS = (
    Benchmark(
        name="ml45",
        title="Meta-World",
        position=30,
        tasks=45,
        held_out_tasks=5,
        simulator=Simulator(
            "metaworld", "metaworld", "metaworld",
            extra_packages=("mujoco",),
            parts=(
                Part("MuJoCo's third parties", "several",
                     "LICENSES_THIRD_PARTY.md of mujoco 3.3.0"),
            ),
        ),
        observations={"observation": Array((40,))},
        actions=Actions("continuous", 4),
        stored_bytes=51,
        rollout_steps=1500,
        scale=SuccessRate("of attempts that succeed"),
        published_spelling=(("-v2", "-v3"),),
    ),
)  # fmt: skip
