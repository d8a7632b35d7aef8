"""Evaluation ends, also where an environment does not."""

import pytest

from amago2.agent.agent import make_agent
from amago2.env.make import make_vector_env
from amago2.errors import RunError
from amago2.rollout import evaluate
from tests.amago2.toy import small


def test_a_rollout_without_an_end_is_refused_unless_it_has_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "LONGEST_ROLLOUT", 20)
    endless = {"kwargs": {"length": 1000}}
    config = small(env=endless)
    envs = make_vector_env(config.env, 2)
    agent = make_agent(config, envs.observations, envs.actions)
    with pytest.raises(RunError, match=r"Toy, actor \d: .* not ended after 20 steps; set env\.m"):
        evaluate.evaluate(agent, envs, "train", rollouts=1, seed=0, counter=0)
    limited = make_vector_env(small(env={**endless, "max_episode_steps": 30}).env, 2)
    rows = evaluate.evaluate(agent, limited, "train", rollouts=1, seed=0, counter=0)
    assert [row.metric for row in rows] == ["return", "return"]
