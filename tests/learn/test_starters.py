"""Starter configurations learn, and how they compare with PPO and SAC of stable-baselines3."""

import pytest

from workflow.bench.starters import GOALS, METHODS, measure, table

pytestmark = pytest.mark.learn

SEEDS, SECONDS = 5, 180.0


@pytest.mark.parametrize("environment", GOALS)
def test_starter_configurations_learn(environment: str) -> None:
    """At least four of five seeds within three CPU minutes each, evaluated on fresh rollouts."""
    rows = [
        row
        for method in METHODS[environment]
        for row in measure(environment, method, SEEDS, SECONDS)
    ]
    print("\n".join(table(rows)))
    own = [row for row in rows if row["method"] == "amago2"]
    assert sum(row["return"] >= GOALS[environment] for row in own) >= 4
    assert max(row["cpu_s"] for row in own) <= SECONDS
