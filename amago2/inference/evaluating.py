"""Evaluating a stored run: `amago2.evaluate(folder)`, and what the command does."""

from collections.abc import Sequence
from pathlib import Path

import torch

from amago2.config.schema import AmagoConfig
from amago2.env.make import make_vector_env
from amago2.env.stored_spaces import check_same_spaces, describe_spaces
from amago2.inference.stored_run import allow_modules, stored_config
from amago2.inference.summary import Summary, summarise
from amago2.rollout.evaluate import EvaluationRow
from amago2.rollout.evaluate import evaluate as evaluate_policy
from amago2.training.checkpoint import load_policy


def evaluate(
    run: Path | str,
    rollouts: int | None = None,
    seed: int | None = None,
    greedy: bool = False,
    allow_env: Sequence[str] = (),
) -> list[Summary]:
    """Evaluate the policy of a run's or checkpoint's folder on its own evaluation sets.

    Plays `rollouts` rollouts of each task, or as many as in the run's last evaluation, which is
    made again without a seed; with sampled actions or, if `greedy`, the likeliest ones.
    `allow_env` names modules of others that the run may use. Raises `ConfigError` if it may not, or
    its environment has changed.
    """
    run = Path(run)
    config = stored_config(run, allow_env)
    return summarise(evaluation_rows(run, config, rollouts, seed, greedy, allow_env))


def evaluation_rows(
    run: Path,
    config: AmagoConfig,
    rollouts: int | None,
    seed: int | None,
    greedy: bool,
    allow_env: Sequence[str] = (),
) -> list[EvaluationRow]:
    """Rows of all evaluation sets of a configuration, by the policy of `run`."""
    agent = load_policy(run, allowed=allow_env)
    agent.greedy = greedy
    allow_modules(config)
    made_for = describe_spaces(agent.observations, agent.actions)
    torch.set_num_threads(config.threads)
    rows: list[EvaluationRow] = []
    for i, name in enumerate(config.env.eval_sets):
        envs = make_vector_env(config.env, config.evaluation.actors, name)
        try:
            check_same_spaces(run, made_for, envs.observations, envs.actions)
            count = rollouts or config.evaluation.final_rollouts
            rows += evaluate_policy(agent, envs, name, count, *_stream(config, seed, i))
        finally:
            envs.close()
    return rows


def _stream(config: AmagoConfig, seed: int | None, place: int) -> tuple[int, int]:
    """Seed and counter of an evaluation set's random numbers; by default those of a run's end."""
    if seed is not None:
        return seed, place
    return config.seed, config.collector.epochs * len(config.env.eval_sets) + place
