"""Published numbers are what their source file says."""

import csv
import hashlib

import pytest
import yaml

from workflow.config.catalog import REFERENCE

SOURCES = yaml.safe_load((REFERENCE / "SOURCES.yaml").read_text())


def test_every_file_has_a_source() -> None:
    assert {path.name for path in REFERENCE.glob("*.csv")} == set(SOURCES)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_is_as_it_was_read(name: str) -> None:
    entry = SOURCES[name]
    assert hashlib.sha256((REFERENCE / name).read_bytes()).hexdigest() == entry["sha256"]
    assert entry["precision"]
    assert "arxiv" in entry or "source" in entry


def test_curves_have_numbers() -> None:
    with (REFERENCE / "fig05_popgym.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {row["series"]: float(row["value"]) for row in rows}
    assert last["ind_actor_ind_critic"] == pytest.approx(87.2, abs=0.1)
    assert last["dep_actor_dep_critic"] == pytest.approx(70.8, abs=0.1)
    assert last["ppo_gru"] == pytest.approx(32.6, abs=0.1)
