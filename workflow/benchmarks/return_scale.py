"""return_scale: four small tasks of cue recall whose rewards differ by 1, 10, 100 and 1000."""

from workflow.benchmarks.description import Actions, Array, Benchmark, ShareOfMaximum

BENCHMARKS = (
    Benchmark(
        name="return_scale",
        title="return_scale",
        position=10,
        tasks=4,
        published=False,
        observations={"observation": Array((12,))},
        actions=Actions("discrete", 4),
        stored_bytes=25,
        rollout_steps=10,
        # A task is named by the return of a perfect attempt: task2_x100.
        scale=ShareOfMaximum("of a perfect attempt's return", in_name=r"_x([\d.e+]+)$"),
        experiment="ext_return_scale",
    ),
)
