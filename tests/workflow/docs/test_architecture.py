"""The drawing of the packages: as the code is, and every path that the page names exists."""

import re
from pathlib import Path

from workflow.docs import architecture
from workflow.docs.marked_section import begin

ROOT = Path(__file__).resolve().parents[3]


def test_the_drawing_is_of_the_present_code() -> None:
    page = architecture.PAGE.read_text(encoding="utf-8")
    assert f"{begin(architecture.COMMAND)}\n\n{architecture.text()}\n\n" in page, (
        "run `make architecture`"
    )


def test_arrows_that_follow_from_others_are_left_out() -> None:
    found = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set[str]()}
    assert architecture.transitive_reduction(found) == {
        "a": {"b"},
        "b": {"c"},
        "c": {"d"},
        "d": set(),
    }


def test_every_path_that_the_page_names_exists() -> None:
    page = architecture.PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`((?:amago2|envs|workflow|params|containers|profiles)/[^`<]*)", page)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
