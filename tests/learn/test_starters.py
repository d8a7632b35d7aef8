"""Starter configurations learn, as docs/learning.md says, and how PPO and SAC do beside them."""

import pytest

from workflow.bench.starter_checks import CHECKS
from workflow.bench.starters import ROOT, measure, page, solved

pytestmark = pytest.mark.learn

SEEDS, SECONDS = 5, 180.0
SCRATCH = ROOT / "build" / "learn-check"
"""Rows that are finished, by check: they are not measured again, so this can be interrupted."""


@pytest.mark.parametrize("name", CHECKS)
def test_starter_configurations_learn(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluated on fresh rollouts; within three CPU minutes where some seeds must."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with capsys.disabled():  # a line for each run, as soon as it is there
        rows = measure(name, SEEDS, SECONDS, SCRATCH / f"{name}.jsonl".replace(" ", "_"))
    print(page(rows))
    own = [row for row in rows if row["method"] == "amago2"]
    assert sum(map(solved, own)) >= CHECKS[name].least
    assert not CHECKS[name].least or max(row["cpu_s"] for row in own) <= SECONDS
