"""The timing of products: once per machine, and a word where the chosen precision is slow."""

from pathlib import Path

import pytest

from amago2.training import product_speed
from amago2.training.product_speed import faster_than, warn_of_slow_precision
from tests.amago2.toy import small


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, float]]:
    """A processor on which bfloat16 takes twice as long; each timing of it is listed."""
    timings: list[dict[str, float]] = []

    def measure() -> dict[str, float]:
        timings.append({"float32": 2e11, "bfloat16": 1e11})
        return timings[-1]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(product_speed, "_measure", measure)
    return timings


def test_a_machine_is_timed_once(timed: list[dict[str, float]], tmp_path: Path) -> None:
    assert faster_than("bfloat16") == ("float32", 2.0)
    assert faster_than("float32") is None
    assert len(timed) == 1
    (cache,) = (tmp_path / "amago2").iterdir()
    for damaged in ("{", cache.read_text().replace("2000", "-2")):
        cache.write_text(damaged)
        timed.clear()
        assert faster_than("bfloat16") == ("float32", 2.0)
        assert len(timed) == 1


def test_without_a_cache_each_run_times(
    timed: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert faster_than("bfloat16") == ("float32", 2.0)
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    assert faster_than("bfloat16") == ("float32", 2.0)
    assert len(timed) == 2


@pytest.mark.usefixtures("timed")
def test_the_slower_precision_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_slow_precision(small())
    assert capsys.readouterr().err == ""
    warn_of_slow_precision(small(learner={"precision": "bfloat16"}))
    assert capsys.readouterr().err == (
        "amago2: warning: learner.precision is bfloat16, but this processor multiplies matrices "
        "2.0 times as fast in float32\n"
    )


def test_both_precisions_are_timed() -> None:
    found = product_speed._measure()
    assert found.keys() == {"float32", "bfloat16"}
    assert all(1e8 < speed < 1e14 for speed in found.values())
