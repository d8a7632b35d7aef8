import pandas as pd
import pytest

from workflow.figures.ext_task_shares import shares


def rows(*values: tuple[int, int, str, float]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["seed", "step", "key", "value"])


def test_each_seed_counts_alike_whatever_its_scale() -> None:
    found = shares(rows(
        (0, 10, "a", 1.0), (0, 10, "b", 3.0), (1, 10, "a", 300.0), (1, 10, "b", -100.0),
        (0, 20, "a", 0.0), (0, 20, "b", 2.0),
    ))  # fmt: skip
    assert found.to_numpy()[0].tolist() == pytest.approx([50, 50])
    assert found.to_numpy()[1].tolist() == [0, 100]


def test_a_loss_that_no_task_has_a_part_of_has_no_shares() -> None:
    found = shares(rows((0, 10, "a", 0.0), (0, 10, "b", 0.0), (0, 20, "a", 1.0), (0, 20, "b", 1.0)))
    assert found.index.tolist() == [20]
