"""Environment steps of a run's evaluations."""

from amago2.config.schema import RunConfig
from workflow.benchmarks.lookup import benchmarks

HELD_OUT = "test_tasks"
"""Evaluation set of tasks that are never trained on."""
TYPICAL_STEPS = 500.0
"""Of a rollout in benchmarks that are not described."""


def evaluation_steps(config: RunConfig) -> float:
    """Of all evaluations, the last one and the probe included."""
    e = config.evaluation
    times = (config.collector.epochs - 1) // e.every
    rollouts = times * e.rollouts + e.final_rollouts + (e.probe.rollouts if e.probe else 0)
    return rollouts * evaluated_tasks(config) * rollout_steps(config)


def evaluated_tasks(config: RunConfig) -> int:
    """Tasks of all evaluation sets together."""
    return sum(_tasks(config, name, own) for name, own in config.env.eval_sets.items())


def _tasks(config: RunConfig, name: str, own: dict[str, object]) -> int:
    given = {**config.env.kwargs, **own}
    for key in ("tasks", "games", "scales"):
        if isinstance(listed := given.get(key), list | tuple):
            return len(listed)
    described = benchmarks().get(config.benchmark)
    if described is None:
        return 1
    return described.held_out_tasks if name == HELD_OUT else described.tasks


def rollout_steps(config: RunConfig) -> float:
    """Of a rollout, on average."""
    described = benchmarks().get(config.benchmark)
    return described.rollout_steps if described else TYPICAL_STEPS
