"""The numbers of fig03 and fig12, against the same done by hand."""

import csv
import math
from pathlib import Path

import pytest

from workflow.analysis import relative_loss


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("data") / "relative_loss.csv"
    path.write_text(relative_loss.to_table(Path("params")))
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _at(
    table: list[dict[str, str]], error: float, target: float, **setting: object
) -> dict[str, str]:
    wanted = {key: str(value) for key, value in setting.items()}
    (row,) = (
        row
        for row in table
        if float(row["relative_error"]) == error
        and float(row["target"]) == target
        and all(row[key] == value for key, value in wanted.items())
    )
    return row


WIDE_256 = {"loss": "two_hot", "low": -1e5, "high": 1e5, "bins": 256, "symlog": True}


def test_every_curve_is_there(table: list[dict[str, str]]) -> None:
    curves = {
        tuple(row[key] for key in ("loss", "low", "high", "bins", "symlog", "target"))
        for row in table
    }
    assert len(curves) == (1 + 7) * 4
    assert len(table) == len(curves) * 201


def test_squared_error_carries_the_scale(table: list[dict[str, str]]) -> None:
    row = _at(table, 0.25, 10, loss="mse")
    assert float(row["value"]) == 6.25  # (12.5 - 10)^2
    assert float(row["of_curve"]) == 0.25  # 2.5^2 / 5^2
    assert float(row["of_loss"]) == pytest.approx(0.25e-6)  # against 5000^2
    assert float(_at(table, -0.5, 10000, loss="mse")["of_loss"]) == 1


def test_no_error_leaves_the_entropy_of_the_label(table: list[dict[str, str]]) -> None:
    # symlog(100) = ln 101 lies between the bins 178 and 179 of 256.
    position = (math.log(101) + math.log(100001)) / (2 * math.log(100001) / 255)
    upper = position - math.floor(position)
    entropy = -upper * math.log(upper) - (1 - upper) * math.log(1 - upper)
    # The 254 empty classes hold 1e-6 each.
    by_hand = entropy + math.log(1 + 254e-6)
    assert math.floor(position) == 178
    assert float(_at(table, 0, 100, **WIDE_256)["value"]) == pytest.approx(by_hand, abs=1e-5)


def test_a_large_error_costs_the_same_at_every_scale(table: list[dict[str, str]]) -> None:
    # The label's classes have the smallest probability: 1e-6 / (1 + 254e-6).
    by_hand = -math.log(1e-6) + math.log(1 + 254e-6)
    for target in relative_loss.TARGETS:
        for error in (-0.5, 0.5):
            row = _at(table, error, target, **WIDE_256)
            assert float(row["value"]) == pytest.approx(by_hand, abs=1e-5)
            assert float(row["of_loss"]) == pytest.approx(1, abs=1e-6)


def test_wide_bins_without_symlog_do_not_see_small_targets(table: list[dict[str, str]]) -> None:
    linear = {"loss": "two_hot", "low": -1e5, "high": 1e5, "bins": 128, "symlog": False}
    values = [float(_at(table, e / 200, 10, **linear)["of_curve"]) for e in range(-100, 101)]
    assert min(values) > 0.99
    assert max(values) == 1


def test_shares_are_of_the_largest(table: list[dict[str, str]]) -> None:
    for name in ("of_curve", "of_loss"):
        values = [float(row[name]) for row in table]
        assert max(values) == 1
        assert min(values) >= 0
